"""A thread for one kind of work that may hang, so that it neither waits for other work nor keeps the program from ending."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThread:
    """Runs one piece of work at a time. The thread starts at once, so that work runs even if no further thread can be started."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread; return its result or raise its exception. Cancellable; the work itself continues."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._work.put((work, loop, done))
        return await done

    def _run(self) -> None:
        while True:
            work, loop, done = self._work.get()
            try:
                outcome, error = work(), None
            except BaseException as raised:
                outcome, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, done, outcome, error)
            except RuntimeError:  # the loop is closed: no caller waits any more
                return


def _settle(done: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(outcome)
    else:
        done.set_exception(error)
