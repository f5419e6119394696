"""The tick: media waits for it, and nothing waits for ever."""

from __future__ import annotations

import asyncio

from relay_server.connections.media_tick import MediaTick


async def test_all_devices_are_woken_together_and_once() -> None:
    """One timer serves all; who is told twice is woken once; the next tick begins anew."""
    woken: list[str] = []
    done = asyncio.Event()

    def wake(device_id: str) -> None:
        woken.append(device_id)
        done.set()

    tick = MediaTick(10_000, wake)
    for device_id in ("lobby", "hall", "lobby"):
        tick.wake(device_id)
    assert woken == []
    await done.wait()
    assert woken == ["lobby", "hall"]
    done.clear()
    tick.wake("hall")
    await done.wait()
    assert woken == ["lobby", "hall", "hall"]
