"""Relays that are one over a real NATS server: real relays as programs, simulated devices, the publisher library."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from avatar_relay.publisher import Publisher
from avatar_relay.publisher.grpc_link import open_grpc_link
from avatar_relay.publisher.relay_link import RelayLink
from avatar_relay.relay_list import RelayList
from tests.lab.history import History
from tests.lab.relay_cluster import NATS, RelayCluster
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker

pytestmark = [
    pytest.mark.skipif(NATS is None, reason="Debian's package nats-server is not installed"),
    pytest.mark.timeout(120),
]
MANNER = Manner(shortest=100, longest=300, interrupted_share=0.2)


class InOrder(random.Random):
    """Draws the first relay of a list."""

    def random(self) -> float:
        return 0.5


def publisher_at(*addresses: str) -> Publisher:
    """A publisher that begins with the first of these relays."""
    relays = RelayList(addresses, lambda: 0.5)

    async def connect() -> RelayLink:
        return await open_grpc_link(relays.address, None)

    return Publisher(connect, relays=relays)


async def more_payloads(device: SimulatedDevice, count: int, within_s: float) -> None:
    """Wait until so many more came to a device. Raises `TimeoutError`."""
    before = device.player.counts.payloads
    async with asyncio.timeout(within_s):
        while device.player.counts.payloads < before + count:  # noqa: ASYNC110 - a device notifies nobody
            await asyncio.sleep(0.02)


async def test_a_publisher_reaches_a_device_of_another_relay(tmp_path: Path) -> None:
    """Payloads, ends and interrupts go to its home; what the device tells comes back."""
    async with asyncio.timeout(100), RelayCluster(tmp_path) as cluster:
        door, home = await cluster.start("door"), await cluster.start("home")
        with History() as history:
            device = SimulatedDevice("lobby", home, history, random.Random(1))
            await until_attached([device])
            async with Publisher.connect(door) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(1, publisher, "lobby", history, random.Random(2), MANNER)
                asyncio.get_running_loop().call_later(2.0, stop.set)
                await speaker.run(stop)
            verdict = history.check()
            await device.kill()
    assert verdict.violations == 0, verdict.told
    assert verdict.outcomes["completed"] >= 2, verdict.outcomes
    assert verdict.outcomes["interrupted"] >= 1, verdict.outcomes


@pytest.mark.parametrize("victim", ["door", "home"])
async def test_a_relay_that_is_killed_costs_nothing(tmp_path: Path, victim: str) -> None:
    """kill −9 while conversations run: device or publisher takes another relay, and each payload comes once."""
    async with asyncio.timeout(100), RelayCluster(tmp_path) as cluster:
        addresses = {name: await cluster.start(name) for name in ("door", "home", "other")}
        with History() as history:
            device = SimulatedDevice("lobby", addresses["home"], history, InOrder(1), others=(addresses["other"],))
            await until_attached([device])
            async with publisher_at(addresses["door"], addresses["other"]) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(1, publisher, "lobby", history, random.Random(2), Manner(interrupted_share=0.1))
                speaking = asyncio.create_task(speaker.run(stop))
                await asyncio.sleep(1.0)
                cluster.relays[victim].kill()
                await more_payloads(device, 200, within_s=5.0)
                await asyncio.sleep(1.0)
                stop.set()
                await speaking
            verdict = history.check()
            await device.kill()
    assert verdict.violations == 0, verdict.told
    assert set(verdict.outcomes) <= {"completed", "interrupted"}, verdict.outcomes
