"""An event loop whose time is virtual: it passes at once where nobody has anything to do, and stands still otherwise."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):
    """Never waits: the time that it was to wait for has passed."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors`. Raises `RuntimeError` if everybody waits forever."""
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing can happen any more")
        self.passed_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tasks that wait for each other and for time, and for nothing outside."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual time, from 0, in seconds."""
        return self._virtual.passed_s


def run_virtual(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end; cancel what is left."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
