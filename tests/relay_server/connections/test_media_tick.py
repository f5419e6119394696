"""The tick: media waits for it, and nothing waits forever."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from relay_server.connections.media_tick import MediaTick
from relay_server.connections.ports import Port


class FakePort:
    """Records that it was woken."""

    def __init__(self, name: str, woken: list[str], done: asyncio.Event) -> None:
        self._name = name
        self._woken = woken
        self._done = done

    def wake(self) -> None:
        """Record the call."""
        self._woken.append(self._name)
        self._done.set()


async def test_all_devices_are_woken_together_and_once() -> None:
    """One timer serves all; a port scheduled twice is woken once; the next tick starts again."""
    woken: list[str] = []
    done = asyncio.Event()
    lobby, hall = (cast(Port[Any], FakePort(name, woken, done)) for name in ("lobby", "hall"))
    tick = MediaTick(10_000)
    for port in (lobby, hall, lobby):
        tick.wake(port)
    assert woken == []
    await done.wait()
    assert woken == ["lobby", "hall"]
    done.clear()
    tick.wake(hall)
    await done.wait()
    assert woken == ["lobby", "hall", "hall"]
