"""Devices that play while a test speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay_server.connections.relay import Relay
from tests.relay_server.sources.fast_device import FastDevice, Seen

SPEED = 50.0
"""Playback speed as a multiple of real time."""


@asynccontextmanager
async def playing(relay: Relay, *devices: FastDevice, speed: float = SPEED) -> AsyncIterator[None]:
    """Run the relay and play on the devices; an error in either ends the test at once."""
    for device in devices:
        await device.attach()
    async with asyncio.TaskGroup() as group:
        works = [relay.run(), *(work for device in devices for work in (device.listen(), device.play(speed)))]
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()


async def until_finished(device: FastDevice, conversation_id: str) -> Seen:
    """Wait until a device has finished a conversation, and return what it recorded."""
    async with asyncio.timeout(30):
        while not device.seen[conversation_id].finished:
            device.finished.clear()
            await device.finished.wait()
    return device.seen[conversation_id]
