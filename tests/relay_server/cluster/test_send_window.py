"""What a publisher sends to another relay without credit waits at its door, and disturbs nobody else."""

from __future__ import annotations

import asyncio

from avatar_relay import wire
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Kind, Payload
from avatar_relay.messages import Media, Opened, Ping, Pong, PublisherHello, PublishOpen, ToPublisher
from relay_server.access.caller import EVERYBODY
from relay_server.cluster.door import DoorPort
from relay_server.cluster.send_window import PING_BYTES, SHARE_BYTES, WINDOW_BYTES, SendWindow, SentBytes
from relay_server.cluster.service import take
from relay_server.links.beats import SILENCE_US
from tests.lab.history import History
from tests.lab.simulated_device import until_attached
from tests.relay_server.cluster.small_cluster import SmallCluster, more, small_cluster, speaking
from tests.relay_server.relay_dsl import hello as hello_of

FLOOD = 96
"""Messages of 64 KiB: three times the credit of a conversation."""


def data_of(message: Media | Ping | PublisherHello | PublishOpen) -> bytes:
    """A publisher's message on the wire."""
    return wire.publish_request_to_wire(message).SerializeToString()


def sound(number: int) -> bytes:
    """Four payloads of 16 KiB."""
    seqs = range(4 * number + 1, 4 * number + 5)
    return data_of(Media("flood", tuple(Payload(kind=Kind.AUDIO, seq=seq, data=bytes(16 << 10), duration_us=20_000) for seq in seqs)))


async def next_of(port: DoorPort, kind: type[ToPublisher]) -> ToPublisher:
    """The next message of a kind to the publisher."""
    while not isinstance(message := await port.receive(), kind):
        assert message is not None, port.fault
    return message


async def handle(cluster: SmallCluster, port: DoorPort, data: bytes) -> None:
    """Handle a publisher's message, as its stream's reader does."""
    if (taking := take(cluster.relays["a"], port, EVERYBODY, data)) is not None:
        await taking


async def flood(cluster: SmallCluster, port: DoorPort, device_id: str, *, hello: bool) -> None:
    """Send far more to a device than its relay granted."""
    try:
        if hello:
            await handle(cluster, port, data_of(PublisherHello("flood", 1, "test")))
        opening = PublishOpen(ConversationOpen("flood", AudioFormat(Codec.OPUS)), (device_id,))
        await handle(cluster, port, data_of(opening))
        await next_of(port, Opened)
        for number in range(FLOOD):
            await asyncio.sleep(0)  # as gRPC does before each message
            await handle(cluster, port, sound(number))
            await handle(cluster, port, data_of(Ping(number + 1, 0)))
        await next_of(port, Pong)
        assert not port.ended
    finally:
        port.close_passages()
        port.close()


async def test_a_publisher_that_ignores_its_credit_disturbs_no_other() -> None:
    """Its stream is not read until the other relay has handled what it sent; no message of others to the same relay is lost."""
    async with asyncio.timeout(50), small_cluster() as cluster, speaking(cluster, door="a", home="b") as device:
        with History() as history:
            other = cluster.device("desk", "b", history)
            await until_attached([other])
            await more(device, 50, within_s=10)
            cluster.bus.delay_s, cluster.bus.limit_bytes = (0.03, 0.03), 1 << 20
            await flood(cluster, cluster.parts["a"].connect_door(""), "desk", hello=True)
            cluster.bus.delay_s = (0.0, 0.0)
            await more(device, 50, within_s=10)
            assert cluster.bus.vanished == 0
            await other.kill()


async def test_a_publisher_by_hand_waits_for_a_slow_device_at_another_relay() -> None:
    """Its stream is not read, as at one relay; the tunnel stays, although nothing of the publisher is handled for longer than a silence."""
    async with asyncio.timeout(40), small_cluster() as cluster:
        device, port = cluster.relays["b"].connect_device(), cluster.parts["a"].connect_door("")
        await device.send(hello_of("slow", buffer=Credit(300_000, 300_000)))
        flooding = asyncio.create_task(flood(cluster, port, "slow", hello=False))
        done, _ = await asyncio.wait({flooding}, timeout=1.5 * SILENCE_US / 1e6)
        assert not done
        assert not port.ended
        flooding.cancel()
        await asyncio.wait({flooding})
        device.close()


def unhandled(window: SendWindow, size: int) -> None:
    """Send so much; the home answers no ping."""
    if window.sent(size):
        window.pinged(own=True)


def test_a_window_has_room_for_what_is_not_handled() -> None:
    """A pong says that all bytes before its ping were handled; one message may be larger than the window."""
    window = SendWindow(SentBytes())
    window.pinged(own=False)
    for _ in range(4):
        assert window.has_room(PING_BYTES)
        unhandled(window, PING_BYTES)
    assert not window.has_room(1)
    assert [window.answered() for _ in range(2)] == [False, True]
    assert window.has_room(PING_BYTES)
    assert not window.has_room(PING_BYTES + 1)
    assert [window.answered() for _ in range(4)] == [True, True, True, False]
    assert window.has_room(16 * WINDOW_BYTES)


def test_what_no_ping_follows_is_known() -> None:
    """Before it waits, the door sends a ping after it; else nothing would make room for a large message."""
    window = SendWindow(SentBytes())
    assert not window.needs_ping
    assert not window.sent(1)
    assert window.needs_ping
    assert not window.has_room(WINDOW_BYTES)
    window.pinged(own=True)
    assert not window.needs_ping
    assert window.answered()
    assert window.has_room(WINDOW_BYTES)


async def test_streams_of_one_identity_share_what_may_be_unhandled() -> None:
    """What a stream that ends leaves unhandled makes room for the others, which wait for it."""
    shared = SentBytes()
    windows = [SendWindow(shared) for _ in range(SHARE_BYTES // WINDOW_BYTES)]
    for window in windows:
        unhandled(window, WINDOW_BYTES)
    other = SendWindow(shared)
    waiting = asyncio.create_task(other.room(100))
    done, _ = await asyncio.wait({waiting}, timeout=0)
    assert not done
    windows[0].close()
    await waiting
    other.sent(100)
    other.close()
    assert shared.unhandled == SHARE_BYTES - WINDOW_BYTES
    assert other.has_room(SHARE_BYTES), "what is sent after the end goes nowhere"
