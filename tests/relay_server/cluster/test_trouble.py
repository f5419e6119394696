"""A cluster on a faulty network: real relays and clients, an in-memory backplane."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from avatar_relay import wire
from avatar_relay.publisher import Avatar
from relay_server.cluster.cluster import Cluster
from relay_server.cluster.names import ClusterNames
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from tests.lab.history import History
from tests.lab.memory_backplane import MemoryBus
from tests.lab.memory_links import MemoryLinks
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import AUDIO
from tests.relay_server.cluster.small_cluster import SmallCluster, more, small_cluster, speaking


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


@pytest.mark.parametrize(("named", "expected"), [("c", "c"), ("", "a"), ("stranger", "a")])
async def test_a_relay_that_drains_sends_devices_to_relays_of_their_list(named: str, expected: str) -> None:
    """Without an address, or with one that is not in its list, a device goes to the next relay of its list."""
    async with asyncio.timeout(30), small_cluster() as cluster:
        with History() as history:
            device = cluster.device("lobby", "b", history)
            await until_attached([device])
            elsewhere = [cluster.addresses.get(named, "127.0.0.1:9")] if named else []
            await cluster.relays["b"].drain(hand_over=True, elsewhere=elsewhere)
            await until_attached([device], 2)
            assert [name for name, relay in cluster.relays.items() if relay.has("lobby") and name != "b"] == [expected]
            await device.kill()


async def test_relays_that_accept_devices_tell_their_addresses() -> None:
    """Not one that drains itself, or that listens on an address to which nobody can connect."""
    bus, clocks = MemoryBus(), Clocks(lambda: 0, lambda: 0)
    listens = {
        "a": ("192.0.2.1:52000", ""),
        "b": ("0.0.0.0:52000", ""),
        "c": ("0.0.0.0:52000", "relay-c.example:52000"),
        "d": ("[::1]:52000", ""),
    }
    parts = []
    for name, (listen, address) in listens.items():
        config = RelayConfig(listen=listen, insecure_listen=True, cluster_address=address)
        relay = Relay(config, clocks, random_bytes=bytes, encode=wire.encode_payload)
        links, names = MemoryLinks(bus, name), ClusterNames("test", name)
        parts.append(Cluster(relay, bus.node(name), names, links=links, now_us=lambda: 0, random_bytes=bytes))
        await parts[-1].start()
    for part in parts:
        await part.directory.tick()
    for _ in range(20):
        await asyncio.sleep(0)
    assert await parts[1].addresses_elsewhere() == ("192.0.2.1:52000", "[::1]:52000", "relay-c.example:52000")
    assert await parts[0].addresses_elsewhere() == ("[::1]:52000", "relay-c.example:52000")
    for part in parts:
        await part.leave()


@pytest.mark.slow
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("seed", range(4))
async def test_all_of_it_at_random(seed: int, linked: bool) -> None:
    """Partitions, lost connections, lost messages and a device that changes relays, in sequence."""
    chance = random.Random(seed)
    async with (
        asyncio.timeout(58),
        small_cluster(seed, linked=linked) as cluster,
        speaking(cluster, door="a", home="b", seed=seed) as device,
    ):
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


PACKET = b"\x08" + bytes(20)


async def received(device: SimulatedDevice, count: int) -> None:
    """Wait until a device has received so many payloads."""
    while device.player.counts.payloads < count:  # noqa: ASYNC110 - a device notifies nobody
        await asyncio.sleep(0.01)


@asynccontextmanager
async def speaking_over_a_link() -> AsyncIterator[tuple[SmallCluster, SimulatedDevice, Avatar, str]]:
    """A device at relay `b` has received one payload of a conversation, whose publisher is at `a`; then no relay has the backplane."""
    async with asyncio.timeout(50), small_cluster(linked=True) as cluster:
        with History() as history:
            device = cluster.device("lobby", "b", history)
            await until_attached([device])
            async with cluster.publisher("a") as publisher:
                avatar = publisher.avatar("lobby", audio_format=AUDIO)
                conversation_id = await avatar.yield_audio_data(PACKET)
                await received(device, 1)
                with cluster.bus.cut_off("a", "b", "c"):
                    yield cluster, device, avatar, conversation_id
            await device.kill()


async def test_a_conversation_over_a_link_goes_on_without_the_backplane() -> None:
    """As one within a relay does, and so does the next one."""
    async with speaking_over_a_link() as (_, device, avatar, first):
        await avatar.yield_audio_data(PACKET, end=True)
        assert (await avatar.finished(first)).reason == "completed"
        second = await avatar.yield_audio_data(PACKET, end=True)
        await received(device, 3)
        assert (await avatar.finished(second)).reason == "completed"


async def test_a_conversation_whose_link_ends_waits_for_the_backplane() -> None:
    """The publisher comes back, and nothing is lost."""
    async with speaking_over_a_link() as (cluster, device, avatar, conversation_id):
        cluster.bus.links["a"].break_all("injected")
        await avatar.yield_audio_data(PACKET, end=True)
        cluster.bus.regain("a", "b", "c")
        await received(device, 2)
        assert (await avatar.finished(conversation_id)).reason == "completed"


async def test_a_device_that_comes_to_its_door_is_found_there() -> None:
    """Neither relay hears of the other while the backplane is away, but their link goes on: the publisher follows the device at once."""
    async with speaking_over_a_link() as (cluster, device, avatar, conversation_id):
        cluster.send_away("b", "lobby")
        for _ in range(20):
            await avatar.yield_audio_data(PACKET)
        await received(device, 21)
        avatar.end()
        assert (await avatar.finished(conversation_id)).reason == "completed"
