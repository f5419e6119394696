"""An event loop with virtual time, which advances only while all tasks wait, and then immediately."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
MAX_TURNS = 100_000
"""Turns of the loop at the same virtual time. More are a task that never really waits."""


class _Selector(selectors.DefaultSelector):
    """Never waits: advances virtual time by the timeout instead."""

    passed_s = 0.0
    _turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors`. Raises `RuntimeError` if all tasks wait forever, or one of them never does."""
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing can happen any more")
        before_s, self.passed_s = self.passed_s, self.passed_s + max(0.0, timeout)
        self._turns = self._turns + 1 if self.passed_s == before_s else 0
        if self._turns > MAX_TURNS:
            raise RuntimeError(f"virtual time stands still at {self.passed_s} s: a task never waits")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tasks that wait only for each other and for time, never for external events."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual time, from 0, in seconds."""
        return self._virtual.passed_s


def run_virtual(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, then cancel remaining tasks."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
