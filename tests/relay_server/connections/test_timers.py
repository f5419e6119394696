"""Timers of the relay's upkeep."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.connections.timers import until_next


async def test_timers_fire_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """At multiples of the interval, and never at once."""
    loop = asyncio.get_running_loop()
    for now_s, wait_s in ((100.0, 0.25), (100.1, 0.15), (100.25, 0.25), (100.4375, 0.0625)):
        monkeypatch.setattr(loop, "time", lambda now_s=now_s: now_s)
        assert until_next(0.25) == pytest.approx(wait_s)
        monkeypatch.undo()


@given(st.floats(0.0, 1e7), st.floats(1e-3, 10.0), st.integers(0, 10**8))
def test_a_wait_always_ends_later(offset_s: float, interval_s: float, multiple: int) -> None:
    """Near a multiple, as after each wait, rounding must not make the wait so short that the clock shows the same time after it."""

    async def check(now_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.time = lambda: now_s  # type: ignore[method-assign]
        wait_s = until_next(interval_s)
        del loop.time
        assert 0.0009 * interval_s <= wait_s <= 1.0011 * interval_s
        assert now_s + wait_s > now_s

    for now_s in (offset_s, multiple * interval_s, math.nextafter(multiple * interval_s, 0.0), multiple * interval_s + 1e-9):
        asyncio.run(check(now_s))
