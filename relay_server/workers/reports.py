"""What a worker reports to its supervisor, by systemd's notification protocol."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

MAX_TEXT = 4_096
BEATS_WITHIN_S = 10
"""A worker that reports nothing for this long hangs."""
START_WITHIN_S = 60
"""The same limit before it listens."""


class WorkerReports:
    """Receives the reports of one run of a worker. Belongs to one event loop."""

    def __init__(self, path: Path) -> None:
        """`path` is where the socket is created. Raises `OSError`."""
        self._path = path
        self.ready, self.draining = asyncio.Event(), asyncio.Event()
        self._patience = START_WITHIN_S
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._on_told)

    def environment(self) -> dict[str, str]:
        """The environment variables for the worker."""
        return {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(BEATS_WITHIN_S * 1_000_000)}

    def second_passed(self) -> bool:
        """Count a second, and return whether the worker hangs. Call it once a second; time in which the machine sleeps does not count."""
        self._patience -= 1
        return self._patience < 0

    def close(self) -> None:
        """Close and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _on_told(self) -> None:
        told = self._socket.recv(MAX_TEXT)
        if told == b"READY=1":
            self.ready.set()
        elif told == b"STOPPING=1":
            self.draining.set()
        self._patience = BEATS_WITHIN_S if self.ready.is_set() else START_WITHIN_S
