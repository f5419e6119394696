"""The desk of the devices: who is looked after when."""

from __future__ import annotations

from collections import Counter

from avatar_relay import wire
from avatar_relay.messages import Ping
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.core.session import Session
from tests.relay_server.relay_dsl import hello

DEVICES = 20
STEP_US = 50_000


def pinged(session: Session, now_us: int) -> int:
    """How many pings waited for a device, which answers them."""
    count = 0
    while (message := session.take(now_us)) is not None:
        if isinstance(message, Ping):
            session.flight.answered(message.ping_id, now_us)
            count += 1
    return count


async def test_devices_that_come_together_are_not_asked_together() -> None:
    """After the first time, each once in a heartbeat, spread over it: twenty pings and answers at once would hold up all media."""
    now_us = 1_000_000
    config = RelayConfig()
    relay = Relay(config, Clocks(lambda: now_us, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)
    for number in range(DEVICES):
        await relay.connect_device().send(hello(f"device-{number}"))
    relay.tick()
    assert {pinged(session, now_us) for session in relay.sessions()} == {1}
    asked, at_once = Counter[str](), 0
    for _ in range(2 * config.heartbeat_us // STEP_US):
        now_us += STEP_US
        relay.tick()
        pings = Counter({session.device_id: pinged(session, now_us) for session in relay.sessions()})
        at_once = max(at_once, pings.total())
        asked += pings
    assert at_once <= 3
    assert set(asked.values()) == {2}
    assert len(asked) == DEVICES
