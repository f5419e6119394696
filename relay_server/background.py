"""Background tasks that run until the program ends: if one ends by itself, that is a fault and ends the program."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger(__name__)

Start = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a background task under a name; see `Background.start`."""


class Background:
    """Starts tasks and watches them. Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._moved = asyncio.Event()
        self.ended: str | None = None
        """The name of the first task that ended by itself."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it is cancelled. If it ends otherwise, that is logged with its name, and `until` returns."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._on_done)
        return task

    async def until(self, asked: asyncio.Event) -> None:
        """Wait until the program is asked to end, or a task has ended by itself. Cancellable."""
        waiting = asyncio.create_task(asked.wait())
        failing = asyncio.create_task(self._moved.wait())
        try:
            await asyncio.wait((waiting, failing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            failing.cancel()

    async def stop(self) -> None:
        """Cancel all tasks and wait for them to end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        logger.critical("background task ended unexpectedly; exiting: %s", task.get_name(), exc_info=task.exception())
        self.ended = self.ended or task.get_name()
        self._moved.set()
