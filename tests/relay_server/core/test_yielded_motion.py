"""Motion that a narrow link dropped is reported before the conversation, the stream, or the relay ends: later nobody can report it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from avatar_relay.media import ConversationOpen, Credit, Kind, Payload
from avatar_relay.messages import ConversationError, Dropped, Media, PlayerEvent, PublisherHello, PublishOpen
from avatar_relay.reasons import Reason
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.core.congestion import MAX_WINDOW_BYTES, CongestionWindow
from relay_server.core.device_reports import DeviceReports
from relay_server.core.session import Session
from tests.relay_server.relay_dsl import AVATARKIT, PCM_16K, RelayDsl, hello

LITTLE_MOTION = Credit(1 << 30, 1_000)
"""One payload."""
REPORTED = ["error c1 LINK_NARROW lobby", "dropped c1 1 motion link_narrow lobby"]


def narrowed(session: Session, reports: DeviceReports, now_us: int) -> None:
    """The link of a device, which has room for more sound, is found narrow: motion is dropped, and not reported yet."""
    session.flight = CongestionWindow(MAX_WINDOW_BYTES)
    session.flight.is_narrow = True
    assert reports.yield_motion(session, now_us) == "c1"


@pytest.mark.parametrize(
    ("end", "following"),
    [
        ("lobby finishes c1", ["finished c1 lobby 0 completed"]),
        ("lobby goodbyes", ["finished c1 lobby 0 device_lost"]),
        ("lobby leaves", []),
        ("lobby attaches", ["finished c1 lobby 0 device_lost"]),
    ],
)
def test_it_is_reported_before_any_end(end: str, following: list[str]) -> None:
    """Once, whether the device or the relay ends the conversation, or only the stream ends: the device may go to another relay."""
    house = RelayDsl()
    house.perform(house.attending.attach(hello("lobby", buffer=LITTLE_MOTION), house.now_us, 0))
    house.play("a opens c1; a motion c1 3; a audio c1 1")
    narrowed(house.session("lobby"), house.attending, house.now_us)
    house.heard("a")
    house.play(end)
    assert house.heard("a") == REPORTED + following


async def test_it_is_reported_before_a_relay_that_drains_ends_the_streams() -> None:
    """The device and the publisher continue at another relay, and this one ends with its process."""
    numbers = itertools.count(1)
    relay = Relay(
        RelayConfig(),
        Clocks(lambda: 0, lambda: 0),
        random_bytes=lambda count: next(numbers).to_bytes(count, "big"),
        encode=lambda payload: payload.data,
    )
    device, backend = relay.connect_device(), relay.connect_publisher("")
    await device.send(hello("lobby", buffer=LITTLE_MOTION))
    await backend.send(PublisherHello("backend", 1, "test"))
    await backend.send(PublishOpen(ConversationOpen("c1", PCM_16K, AVATARKIT), ("lobby",)))
    await backend.send(Media("c1", tuple(Payload(Kind.MOTION, seq, b"m", (seq - 1) * 1_000_000, 1_000_000) for seq in (1, 2, 3))))
    assert device.session is not None
    narrowed(device.session, relay._reports, 0)
    async with asyncio.timeout(30):
        assert await relay.drain(0) == 1
        told = []
        while (message := await backend.receive()) is not None:
            told.append(message)
    faults = [message.fault.reason for message in told if isinstance(message, ConversationError)]
    assert faults == [Reason.LINK_NARROW, Reason.DRAINING]
    assert [message.body.payloads for message in told if isinstance(message, PlayerEvent) and isinstance(message.body, Dropped)] == [2]
