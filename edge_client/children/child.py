"""One child process: `python -m MODULE CHANNEL PULSE …`, with a channel, counters for its liveness, and a bounded standard error."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edge_client.blas_threads import ONE_THREAD
from edge_client.bounded_stderr import BoundedStderr
from edge_client.children.pulse import Pulse, create_pulse
from edge_client.children.supervision import Signs

_MANAGER_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Only the parent reports the program's state to the service manager."""


class Child:
    """Starts the process. It ends with the thread that created this object, and when `channel` is closed.

    Create it on a thread that lives as long as the child: the kernel kills a child at the end of the thread that started it. `signs`,
    `exit_text` and `make_room` belong to one thread; `ask_to_end` and `kill` may be called from any.
    """

    def __init__(
        self,
        module: str,
        *,
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        keeps_stdout: bool = False,
    ) -> None:
        """`descriptors` are inherited, and passed as arguments; the caller still closes them. `environment` replaces the parent's own.

        The child's standard output is discarded unless it `keeps_stdout`. Raises `OSError`.
        """
        with contextlib.ExitStack() as on_error:
            self.channel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            """Packets to and from the child."""
            on_error.callback(self.channel.close)
            with ours:
                self._stderr = BoundedStderr()
                on_error.callback(self._stderr.close)
                pulse = create_pulse()
                try:
                    self._pulse = Pulse(pulse)
                    on_error.callback(self._pulse.close)
                    inherited = (ours.fileno(), pulse, *descriptors)
                    command = [sys.executable, "-m", module, *map(str, inherited), *arguments]
                    variables = os.environ if environment is None else environment
                    self._process = _start(command, inherited, variables, None if keeps_stdout else subprocess.DEVNULL, self._stderr)
                finally:
                    os.close(pulse)
            on_error.pop_all()
        self.pid_descriptor = os.pidfd_open(self._process.pid)
        """Becomes readable when the process ends."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """How the process ended: an exit code, or a signal's number below 0; None while it runs. See `exit_text`."""
        return self._process.returncode

    def signs(self) -> Signs:
        """The child's counters, and whether somebody stopped it."""
        return replace(self._pulse.signs(), is_stopped=_is_stopped(self.pid))

    def exit_text(self) -> str | None:
        """How the process ended, in words, with the end of its standard error; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        words = self._stderr.excerpt()
        how = f"it was killed by {_signal_name(-status)}" if status < 0 else f"it ended with exit code {status}"
        return f"{how}; it wrote: {words}" if words else how

    def make_room(self) -> None:
        """Discard old standard error to keep room for the newest. Call it a few times a second."""
        self._stderr.make_room()

    def ask_to_end(self) -> None:
        """Close the channel, upon which the child exits by itself, if it can."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill the process at once; it may take a while to end if a driver holds it in the kernel."""
        self._process.kill()

    def close(self) -> None:
        """Free all resources. The process has ended, or is abandoned. No other call may run or follow."""
        self.channel.close()
        self._pulse.close()
        self._stderr.close()
        os.close(self.pid_descriptor)


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT"
    except OSError:
        return False


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The child's environment: without the service manager's variables, and with numpy limited to one thread."""
    return {name: value for name, value in environment.items() if name not in _MANAGER_VARIABLES} | ONE_THREAD


def _start(
    command: list[str], inherited: Sequence[int], environment: Mapping[str, str], stdout: int | None, stderr: BoundedStderr
) -> subprocess.Popen[bytes]:
    """Start with SIGINT blocked, so that Ctrl-C at a terminal cannot end the child before it ignores the signal."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            command,
            pass_fds=inherited,
            env=child_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr.fileno(),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
