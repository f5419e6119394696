"""The parent's hold on one speaker process: start it, watch it, end it.

The rules:
1. What watches does not share the fate of what it watches: the parent counts the callbacks in the shared memory, and needs
   no word from a child that hangs, spins or is stopped.
2. No wait for the child is unlimited. A child that does not end in time is killed; one that does not even end then (a driver
   holds it in the kernel) is left behind.
3. The child's standard error is bounded (`BoundedStderr`) and never the parent's own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time

from edge_client.audio.devices import SPEAKER_MODULE, child_environment, describe_exit
from edge_client.audio.speaker.channel import DeviceOpened, Failed, Settings, receive, send
from edge_client.audio.speaker.memory import SpeakerMemory, SpeakerStatus, create_memory
from edge_client.audio.speaker.stall import STALL_SECONDS, StallWatch
from edge_client.bounded_stderr import BoundedStderr
from edge_client.errors import RateError, SinkError

_OPEN_SECONDS = 15.0
"""For the child's start, PortAudio's list of devices, and the device. The child limits the last of these itself."""
_EXIT_SECONDS = 2.0
_KILL_SECONDS = 1.0
_CHECK_SECONDS = 0.25


class SpeakerProcess:
    """One child and its memory. `memory`'s control words may be set before `open`."""

    def __init__(self, settings: Settings) -> None:
        """Make the memory and the socket. Raises `SinkError` where the system has none to give."""
        self._settings = settings
        try:
            self._channel, self._child_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._descriptor = create_memory(settings.rate_hz)
            self.memory = SpeakerMemory(self._descriptor, settings.rate_hz)
            self._stderr = BoundedStderr()
        except OSError as error:
            raise SinkError(f"no memory or socket for the speaker process: {error}") from error
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> DeviceOpened:
        """Start the child and wait until its stream runs. Raises `SinkError` with the child's reason."""
        self._spawn()
        self._channel.settimeout(_OPEN_SECONDS)
        try:
            send(self._channel, self._settings)
            answer = receive(self._channel)
        except TimeoutError as error:
            raise SinkError(f"the speaker process did not open {self._device} within {_OPEN_SECONDS:g} s") from error
        except OSError:
            answer = None
        match answer:
            case DeviceOpened():
                self._channel.settimeout(None)
                return answer
            case Failed(reason=reason, rate_hz=rate_hz):
                raise RateError(reason, rate_hz) if rate_hz else SinkError(reason)
        raise SinkError(f"the speaker process ended while it opened {self._device}, {self._exit()}")

    def _spawn(self) -> None:
        descriptors = (self._child_channel.fileno(), self._descriptor)
        with self._child_channel:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", SPEAKER_MODULE, *map(str, descriptors)],
                    pass_fds=descriptors,
                    env=child_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr.fileno(),
                )
            except OSError as error:
                raise SinkError(f"the speaker process can not be started: {error}") from error

    def wait_until_lost(self) -> str:
        """Block until the child fails, hangs, dies, or `shut` is called; returns the reason in words. The child may still run."""
        watch = StallWatch(time.monotonic())
        self._channel.settimeout(_CHECK_SECONDS)
        while True:
            try:
                message = receive(self._channel)
            except TimeoutError:
                self._stderr.make_room()
                if watch.is_stalled(self.memory[SpeakerStatus.CALLBACKS], time.monotonic()):
                    return f"the device asked for no samples for {STALL_SECONDS:g} s; it may have been unplugged"
                continue
            except OSError:
                message = None
            if isinstance(message, Failed):
                return message.reason
            return f"the speaker process ended, {self._exit()}"

    def stderr_excerpt(self) -> str:
        """The end of what the child wrote to standard error, as one printable line; empty if nothing."""
        return self._stderr.excerpt()

    def shut(self) -> None:
        """Tell the child to end, from any thread. Playout stops at once."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End the child, or the attempt to open it, at once, from any thread."""
        self.shut()
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the child within 3 s and free all resources. Nothing else may be called at the same time or later."""
        self.shut()
        self._exit()
        self._channel.close()
        self._child_channel.close()
        self.memory.close()
        self._stderr.close()
        os.close(self._descriptor)

    @property
    def _device(self) -> str:
        return repr(self._settings.device) if self._settings.device else "the default output"

    def _exit(self) -> str:
        """Wait for the child's end, killing it if it hangs; how it ended, in words."""
        if self._process is None:
            return "it was not started"
        try:
            return describe_exit(self._process.wait(_EXIT_SECONDS))
        except subprocess.TimeoutExpired:
            self._process.kill()
        try:
            return describe_exit(self._process.wait(_KILL_SECONDS))
        except subprocess.TimeoutExpired:
            return "it does not end although it was killed: a driver hangs"
