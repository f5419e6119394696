"""What a relay tells publishers when a device is at another relay now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from avatar_relay import wire
from avatar_relay.messages import Dropped, Opened, PlayerEvent, PublisherHello, PublishOpen, ToPublisher
from avatar_relay.reasons import Reason
from relay_server.cluster.cluster import Cluster
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from tests.lab.memory_backplane import MemoryBus
from tests.relay_server.cluster.test_supervision import FakeDoor, new_cluster, passage_between
from tests.relay_server.core.test_adoption import C1
from tests.relay_server.relay_dsl import hello


def reported(messages: Sequence[ToPublisher]) -> list[int]:
    """The payloads that each report of dropped motion counts."""
    return [message.body.payloads for message in messages if isinstance(message, PlayerEvent) and isinstance(message.body, Dropped)]


async def test_dropped_motion_is_reported_before_the_stream_ends() -> None:
    """A writer that has nothing to write when its stream ends writes nothing more: the report would wait at a relay that may stop."""
    relay = Relay(RelayConfig(), Clocks(lambda: 1, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)
    await relay.connect_device().send(hello("lobby"))
    port = relay.connect_publisher()
    await port.send(PublisherHello("backend", 1, "test"))
    await port.send(PublishOpen(C1, ("lobby",)))
    told: list[ToPublisher] = []

    def write() -> None:
        """As the writer of a stream, which is woken."""
        while (message := port.next()) is not None:
            told.append(message)
        if port.ended:
            told.append(None)  # type: ignore[arg-type]  # the end

    port.wake = write
    (session,) = relay.sessions()
    session.deliveries["c1"].yielded.update(payloads=1, bytes=100)
    relay.hand_over("lobby", "it is at relay b now")
    assert port.fault is not None
    assert port.fault.reason is Reason.MOVED
    assert reported(told[: told.index(None)]) == [1]  # type: ignore[arg-type]


@asynccontextmanager
async def conversation_between(bus: MemoryBus, user: FakeDoor) -> AsyncIterator[tuple[Cluster, Cluster]]:
    """A door, and a home whose device has a conversation through it."""
    door, home = new_cluster(bus.node("door")), new_cluster(bus.node("home"))
    for cluster in (door, home):
        await cluster.start()
    tasks = [asyncio.create_task(cluster.run()) for cluster in (door, home)]
    await home._relay.connect_device().send(hello("lobby"))
    passage = await passage_between(door, user)
    passage.say(PublishOpen(C1, ("lobby",)), b"")
    passage.flush()
    while not isinstance(await user.heard.get(), Opened):
        pass
    yield door, home
    for cluster, task in zip((door, home), tasks, strict=True):
        await cluster.leave()
        task.cancel()


async def test_a_claim_that_arrives_before_the_last_reports_loses_none() -> None:
    """The messages of two relays are in no order: the home that lost the device ends its tunnels itself, after its reports."""
    user = FakeDoor()
    async with asyncio.timeout(20), conversation_between(MemoryBus(), user) as (door, home):
        door._attached_at("lobby", "other")
        (session,) = home._relay.sessions()
        session.deliveries["c1"].yielded.update(payloads=1, bytes=100)
        home._relay.hand_over("lobby", "it is at relay other now")
        fault = await user.ended.get()
        assert fault is not None
        assert fault.reason is Reason.MOVED
        assert reported([user.heard.get_nowait() for _ in range(user.heard.qsize())]) == [1]


async def test_a_relay_that_leaves_sends_its_last_reports() -> None:
    """Even if it leaves at once after it has ended all streams."""
    user = FakeDoor()
    async with asyncio.timeout(20), conversation_between(MemoryBus(), user) as (_, home):
        (session,) = home._relay.sessions()
        session.deliveries["c1"].yielded.update(payloads=1, bytes=100)
        await home._relay.drain(0)
        await home.leave()
        fault = await user.ended.get()
        assert fault is not None
        assert fault.reason is Reason.DRAINING
        assert reported([user.heard.get_nowait() for _ in range(user.heard.qsize())]) == [1]


async def test_a_passage_to_a_relay_that_is_gone_is_left_at_once() -> None:
    """It will report nothing more."""
    user, bus = FakeDoor(), MemoryBus()
    async with asyncio.timeout(20), conversation_between(bus, user) as (door, home):
        await home.backplane.stop()
        door._attached_at("lobby", "other")
        await asyncio.wait_for(user.ended.get(), 0.15)


async def test_a_relay_that_restarts_quickly_hears_of_all_devices() -> None:
    """The others have not missed it. Later, it must know where a device was if its home loses the backplane."""
    bus = MemoryBus()
    async with conversation_between(bus, FakeDoor()) as (door, _):
        assert door.directory.last_home_of("lobby") == "home"
        await door.backplane.stop()
        again = new_cluster(bus.node("door"))
        await again.start()
        task = asyncio.create_task(again.run())
        async with asyncio.timeout(10):
            while again.directory.last_home_of("lobby") != "home":  # noqa: ASYNC110 - claims notify nobody
                await asyncio.sleep(0.01)
        await again.leave()
        task.cancel()
