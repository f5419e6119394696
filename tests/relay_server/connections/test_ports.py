"""Publishing and attaching without a network."""

from __future__ import annotations

import asyncio

import pytest

from avatar_relay import messages as m
from avatar_relay.errors import PeerError
from avatar_relay.media import ConversationOpen, Credit, Kind, Payload
from avatar_relay.publisher import Publisher
from avatar_relay.reasons import Reason
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.devices import DevicePort
from relay_server.connections.publishers import PublisherPort
from relay_server.connections.relay import Relay
from relay_server.core.device_outbox import MediaMessage
from tests.relay_server.relay_dsl import PCM_16K, hello

BIG = 1 << 20


def relay() -> Relay:
    """A relay on stopped clocks."""
    return Relay(
        RelayConfig(),
        Clocks(lambda: 1_000_000, lambda: 0),
        random_bytes=lambda count: b"r" * count,
        encode=lambda payload: payload.data,
    )


def opening(conversation_id: str = "c1") -> m.PublishOpen:
    """A conversation on `lobby`."""
    return m.PublishOpen(ConversationOpen(conversation_id, PCM_16K), ("lobby",))


def audio(size: int) -> m.Media:
    """One payload without sequence number."""
    return m.Media("c1", (Payload(Kind.AUDIO, 0, bytes(size)),))


async def next_media(device: DevicePort) -> MediaMessage:
    """Return the next media message for a device."""
    message = await device.receive()
    while not isinstance(message, MediaMessage):
        assert message is not None
        if isinstance(message, m.Ping):
            await device.send(m.Pong(message.ping_id, message.sent_time_us, 0, 0, 0))
        message = await device.receive()
    return message


async def test_send_waits_for_room_and_can_be_cancelled() -> None:
    """A publisher without hello has no credit: its `send` waits until the device consumes data."""
    house = relay()
    device, publisher = house.connect_device(), house.connect_publisher()
    await device.send(hello("lobby", buffer=Credit(audio_bytes=BIG)))
    await publisher.send(opening())
    for _ in range(3):
        await publisher.send(audio(BIG))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await publisher.send(audio(BIG))
    sending = asyncio.create_task(publisher.send(audio(100)))
    taken = 0
    while taken <= 3 * BIG - house.config.window_bytes:
        taken += sum(run.size_bytes for run in (await next_media(device)).batches)
    await sending


async def test_a_stream_that_the_relay_ended_refuses() -> None:
    """`receive` returns what is left, then None; `send` raises the fault; `close` has no effect."""
    house = relay()
    first, second = house.connect_publisher(), house.connect_publisher()
    for port in (first, second):
        await port.send(m.PublisherHello("backend", 1, "test"))
    assert await first.receive() == m.GoAway("replaced", 1_000)
    assert await first.receive() is None
    assert first.fault is not None
    assert first.fault.reason is Reason.REPLACED
    with pytest.raises(PeerError):
        await first.send(m.Ping(1, 1))
    first.close()
    first.close()
    assert isinstance(await second.receive(), m.PublisherWelcome)


async def test_a_publisher_without_conversations_leaves_at_once() -> None:
    """There is nothing to resume, so no lease is kept."""
    house = relay()
    publisher = house.connect_publisher()
    await publisher.send(m.PublisherHello("backend", 1, "test"))
    publisher.close()
    assert house.publishers.known() == ()


async def test_receive_can_be_cancelled() -> None:
    """Cancellation loses no message."""
    house = relay()
    publisher = house.connect_publisher()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await publisher.receive()
    await publisher.send(m.Ping(1, 1))
    assert isinstance(await publisher.receive(), m.Pong)


async def test_a_slow_watcher_is_told_what_it_missed() -> None:
    """Its queue is bounded; a count replaces the missing notices."""
    house = relay()
    with house.watch(frozenset()) as watcher:
        for _ in range(1_100):
            device = house.connect_device()
            await device.send(hello("lobby"))
            device.close()
        seen, missed = 0, 0
        while missed == 0:
            watched = await watcher.receive()
            assert watched is not None
            seen += watched.notice is not None
            missed += watched.missed
            if seen == 1_024:
                device = house.connect_device()
                await device.send(hello("lobby"))
        assert seen == 1_024
        assert missed > 1_000


async def test_a_publisher_in_this_process_needs_no_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would wake an idle relay. It may be silent for as long as it likes; any other publisher may not."""
    now_us = [1_000_000]
    clocks = Clocks(lambda: now_us[0], lambda: 0)
    house = Relay(RelayConfig(), clocks, random_bytes=lambda count: b"r" * count, encode=lambda payload: payload.data)
    outside = house.connect_publisher()
    await outside.send(m.PublisherHello("backend", 1, "test"))
    inside = PublisherPort(house.publishers, "")
    monkeypatch.setattr(house, "connect_publisher", lambda: inside)
    async with Publisher.in_process(house) as publisher:
        now_us[0] += 5_000_000
        for _ in range(10):
            await asyncio.sleep(0)
        house.publishers.tick()
        assert (inside.ended, outside.ended, inside.heard_us) == (False, True, 1_000_000)
        await publisher.flush()
        assert inside.heard_us == now_us[0], "a ping shows that all was received"
