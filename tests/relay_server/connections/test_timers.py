"""Timers of the relay's upkeep."""

import asyncio

import pytest

from relay_server.connections.timers import until_next


async def test_timers_fire_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """At multiples of the interval, and never at once."""
    loop = asyncio.get_running_loop()
    for now_s, wait_s in ((100.0, 0.25), (100.1, 0.15), (100.25, 0.25), (100.4375, 0.0625)):
        monkeypatch.setattr(loop, "time", lambda now_s=now_s: now_s)
        assert until_next(0.25) == pytest.approx(wait_s)
        monkeypatch.undo()
