"""The child: `python -m edge_client.audio.speaker SOCKET MEMORY` plays what comes through two inherited descriptors;
`--list` prints the outputs as JSON.

PortAudio and drivers may hang in any call, and then no code of this process runs. So:
1. A failure is told first, and nothing is closed after it: the process just ends.
2. Before calls that may hang, the kernel's alarm is set, which ends the process also when the parent is dead.
3. That no samples are asked for is noticed by the parent (`process`), not here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from typing import Any

from edge_client.audio.devices import choose_output, format_outputs
from edge_client.audio.sink import Pcm
from edge_client.audio.speaker import portaudio
from edge_client.audio.speaker.channel import DeviceOpened, Failed, Settings, receive, send
from edge_client.audio.speaker.engine import SpeakerEngine
from edge_client.audio.speaker.memory import SpeakerMemory
from edge_client.errors import RateError, SinkError

_CHECK_SECONDS = 0.25
_START_SECONDS = 30
"""Longer than a parent waits: ends the process if there is no parent any more."""
_OPEN_SECONDS = 5
_CLOSE_SECONDS = 2


def main(arguments: list[str]) -> int:
    """Run; gives the exit code."""
    signal.alarm(_START_SECONDS)
    if arguments == ["--list"]:
        return _list_outputs()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    socket_descriptor, memory_descriptor = map(int, arguments)
    with socket.socket(fileno=socket_descriptor) as channel:
        settings = receive(channel)
        if not isinstance(settings, Settings):
            return 0
        try:
            _Speaker(settings, SpeakerMemory(memory_descriptor, settings.rate_hz)).run(channel)
        except SinkError as error:
            with contextlib.suppress(OSError):
                send(channel, Failed(str(error), error.rate_hz if isinstance(error, RateError) else 0))
            os._exit(1)  # the interpreter's own end would close the stream, which may hang
        except BrokenPipeError:
            return 0
    return 0


def _list_outputs() -> int:
    try:
        devices = portaudio.outputs(portaudio.initialize())
    except SinkError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(format_outputs(devices).decode() + "\n")
    return 0


class _Speaker:
    def __init__(self, settings: Settings, memory: SpeakerMemory) -> None:
        self._settings = settings
        self._memory = memory
        self._engine = SpeakerEngine(memory, settings.rate_hz)
        self._fault: Exception | None = None

    def run(self, channel: socket.socket) -> None:
        """Play until the parent closes its end. Raises `SinkError` where the device fails."""
        settings = self._settings
        library = portaudio.initialize()
        device = choose_output(portaudio.outputs(library), settings.device)
        gc.disable()  # no pause in the callback; nothing below makes cycles
        signal.alarm(_OPEN_SECONDS)
        stream, channels = portaudio.open_output(
            library, device, rate_hz=settings.rate_hz, buffer_frames=settings.buffer_frames, render=self._render
        )
        signal.alarm(0)
        try:
            send(channel, DeviceOpened(device.name, channels))
            self._watch(channel, stream)
        finally:
            signal.alarm(_CLOSE_SECONDS)
        stream.close()
        library.terminate()

    def _render(self, frames: int, time_seconds: float, delay_seconds: float, device_dry: bool) -> Pcm:
        try:
            return self._engine.render(
                frames,
                time_us=round(time_seconds * 1e6),
                delay_frames=delay_seconds * self._settings.rate_hz,
                device_dry=device_dry,
            )
        except Exception as error:
            self._fault = error
            raise

    def _watch(self, channel: socket.socket, stream: Any) -> None:
        """Return when the parent closes its end."""
        channel.settimeout(_CHECK_SECONDS)
        while True:
            try:
                if receive(channel) is None:
                    return
            except TimeoutError:
                pass
            if self._fault is not None:
                raise SinkError(f"the callback failed: {self._fault!r}")
            if not stream.is_active():
                raise SinkError("the device ended the stream; it may have been unplugged")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
