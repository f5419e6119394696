"""Watches the program's threads: if an exception ends one, its name is logged and the program ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

HARMLESS = ("Otel", "telemetry")
"""Name prefixes of threads that only export telemetry: their failure does not end the program."""


class ThreadWatch:
    """Calls `end` on the thread that dies. `died` is then True: the program has failed."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._report = threading.excepthook
        self.died = False

    def begin(self) -> None:
        """Watch all threads from now on, replacing Python's own report."""
        threading.excepthook = self._on_error

    def end(self) -> None:
        """Stop watching."""
        threading.excepthook = self._report

    def _on_error(self, error: threading.ExceptHookArgs) -> None:
        name = error.thread.name if error.thread is not None else "unknown"
        harmless = name.startswith(HARMLESS)
        text = "a thread ended unexpectedly: %s" if harmless else "a thread ended unexpectedly; exiting: %s"
        logger.critical(text, name, exc_info=error.exc_value)
        if not harmless:
            self.died = True
            self._end()
