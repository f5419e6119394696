"""The desk of the devices: who is looked after when."""

from __future__ import annotations

from avatar_relay import wire
from avatar_relay.messages import Ping
from relay_server.config import RelayConfig
from relay_server.desks.clocks import Clocks
from relay_server.relay import Relay
from tests.relay_server.house import hello

DEVICES = 20
STEP_US = 50_000


async def test_devices_that_come_together_are_not_asked_together() -> None:
    """Each once in a heartbeat, spread over it: twenty pings and their answers at once would hold up everybody's media."""
    now_us = 1_000_000
    config = RelayConfig()
    relay = Relay(config, Clocks(lambda: now_us, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)
    for number in range(DEVICES):
        await relay.connect_device().send(hello(f"device-{number}"))
    asked: dict[str, list[int]] = {session.device_id: [] for session in relay.sessions()}
    at_once = 0
    for _ in range(2 * config.heartbeat_us // STEP_US):
        now_us += STEP_US
        relay.tick()
        pings = 0
        for session in relay.sessions():
            while (message := session.take(now_us)) is not None:
                if isinstance(message, Ping):
                    asked[session.device_id].append(now_us)
                    session.flight.answered(message.ping_id, now_us)
                    pings += 1
        at_once = max(at_once, pings)
    assert at_once <= 3
    assert {len(times) for times in asked.values()} == {2}
