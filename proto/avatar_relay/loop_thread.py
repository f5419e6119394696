"""An asyncio event loop on its own thread, for programs whose other threads block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines on a daemon thread. All methods are for other threads; call `start` once, `close` any number of times."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. Raises `RuntimeError` if it was started before."""
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def submit(self, start: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run the coroutine returned by `start` on this thread, as a task. Cancelling the future cancels the task.

        Raises `RuntimeError` before `start` and after `close`.
        """
        with self._lock:
            if self._thread.ident is None or self._closed:
                raise RuntimeError("the event loop does not run")
            return asyncio.run_coroutine_threadsafe(self._run_task(start), self._loop)

    def close(self, timeout_s: float | None = None) -> None:
        """Cancel all tasks, wait until they are done, and end the thread; stops waiting after `timeout_s`.

        Submitted tasks are cancelled first, and once; the tasks that they leave behind follow.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._thread.ident is None:
                    self._loop.close()
                else:
                    self._loop.call_soon_threadsafe(self._closing.set)
        if self._thread.ident is not None and not self.is_current:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # leaving it cancels remaining tasks, and closes the loop
            runner.run(self._until_closed())

    async def _run_task(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await start()
        finally:
            self._tasks.discard(task)

    async def _until_closed(self) -> None:
        await self._closing.wait()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
