"""A cluster on a faulty network: real relays and clients, an in-memory backplane."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.relay_server.cluster.small_cluster import more, small_cluster, speaking


async def test_lost_messages_cost_nothing() -> None:
    """One message in 50 is lost until three are: the gap ends the tunnel, and everything continues in a new one."""
    async with asyncio.timeout(50), small_cluster() as cluster, speaking(cluster, door="a", home="b") as device:
        await more(device, 100, within_s=20)
        cluster.bus.lost_share = 0.02
        while cluster.bus.vanished < 3:  # noqa: ASYNC110 - the time that this takes depends on the machine's load
            await asyncio.sleep(0.02)
        cluster.bus.lost_share = 0.0
        await more(device, 100, within_s=20)


async def test_slow_messages_keep_their_order() -> None:
    """Each message is delayed by 0 to 30 ms."""
    async with asyncio.timeout(50), small_cluster() as cluster:
        cluster.bus.delay_s = (0.0, 0.03)
        async with speaking(cluster, door="a", home="b") as device:
            await more(device, 200, within_s=10)


@pytest.mark.parametrize("seconds", [0.5, pytest.param(2.0, marks=pytest.mark.slow), pytest.param(7.0, marks=pytest.mark.slow)])
async def test_a_partition_costs_nothing(seconds: float) -> None:
    """Door and home are cut off for less than a heartbeat, longer than a tunnel's silence limit, and longer than a publisher's lease."""
    async with asyncio.timeout(55), small_cluster() as cluster, speaking(cluster, door="a", home="b") as device:
        await more(device, 100, within_s=5)
        with cluster.bus.partition("b"):
            await asyncio.sleep(seconds * 0.5)
            before = device.player.counts.payloads
            await asyncio.sleep(seconds * 0.5)
            assert device.player.counts.payloads == before
        await more(device, 100, within_s=10)


@pytest.mark.slow
async def test_a_door_without_a_backplane_waits() -> None:
    """It notices at once, and its conversations continue when the backplane is back."""
    async with asyncio.timeout(55), small_cluster() as cluster, speaking(cluster, door="a", home="b") as device:
        await more(device, 100, within_s=5)
        with cluster.bus.cut_off("a"):
            await asyncio.sleep(1.0)
        await more(device, 100, within_s=10)


async def test_a_device_that_changes_its_relay_takes_its_conversations_along() -> None:
    """The device moves between relays, including the door, while media is published to it."""
    async with asyncio.timeout(55), small_cluster() as cluster, speaking(cluster, door="a", home="b") as device:
        for name in ("b", "a", "c"):
            await more(device, 100, within_s=5)
            assert cluster.relays[name].has("lobby")
            cluster.send_away(name, "lobby")
            async with asyncio.timeout(5):
                while cluster.relays[name].has("lobby"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await more(device, 100, within_s=5)
        assert [cluster.relays[name].has("lobby") for name in "abc"].count(True) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_all_of_it_at_random(seed: int) -> None:
    """Partitions, lost connections, lost messages and a device that changes relays, in sequence."""
    chance = random.Random(seed)
    async with asyncio.timeout(58), small_cluster(seed) as cluster, speaking(cluster, door="a", home="b", seed=seed) as device:
        cluster.bus.delay_s = (0.0, 0.004)
        for _ in range(8):
            trouble, name, seconds = chance.choice("psdl"), chance.choice("abc"), chance.choice((0.1, 0.4, 1.0, 2.0))
            if trouble == "p":
                with cluster.bus.partition(name):
                    cluster.send_away(chance.choice("abc"), "lobby")
                    await asyncio.sleep(seconds)
            elif trouble == "s":
                with cluster.bus.cut_off(name):
                    await asyncio.sleep(seconds)
            elif trouble == "d":
                cluster.send_away(name, "lobby")
            else:
                cluster.bus.lost_share = 0.01
                await asyncio.sleep(seconds)
                cluster.bus.lost_share = 0.0
            await asyncio.sleep(chance.random())
        await more(device, 100, within_s=15)
