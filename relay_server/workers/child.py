"""A child process of the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress


class ChildProcess:
    """One run of a program. Belongs to the event loop in which it was created."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], told: bytes = b"") -> None:
        """Start the program; `told` is its standard input, up to some kilobytes. Terminal signals do not reach it. Raises `OSError`."""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=dict(environment), process_group=0, bufsize=0
        )
        assert self._process.stdin is not None
        with self._process.stdin as pipe, suppress(BrokenPipeError):  # it ended at once, which `ended` reports
            pipe.write(told)
        self.pid = self._process.pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Set to its exit status when it has ended; a negative one is the signal that killed it."""
        self._handle = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._handle, self._on_end)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    async def stop(self, within_s: float) -> None:
        """Send SIGTERM, and SIGKILL after `within_s` or if cancelled; wait for the end."""
        self.terminate()
        try:
            await asyncio.wait([self.ended], timeout=within_s)
        finally:
            self.kill()
        await self.ended

    def _send(self, number: signal.Signals) -> None:
        if not self.ended.done():
            self._process.send_signal(number)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self.ended.set_result(self._process.wait())


def ended_how(status: int) -> str:
    """Describe an exit status."""
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
