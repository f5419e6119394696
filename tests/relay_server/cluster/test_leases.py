"""How long a relay waits for a publisher that may be at another relay, which cannot reach it at present."""

from __future__ import annotations

from avatar_relay import wire
from avatar_relay.media import Cursor
from avatar_relay.messages import PublisherHello, PublishOpen
from relay_server.cluster.members import MISSING_US, Members
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.links.beats import SILENCE_US
from tests.relay_server.core.test_adoption import C1
from tests.relay_server.relay_dsl import hello


class Waiting:
    """A relay with a device, and a publisher whose stream was lost."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        clocks = Clocks(lambda: self.now_us, lambda: 0)
        config = RelayConfig(heartbeat_us=1_000_000_000, peer_timeout_us=2_000_000_000)
        self.relay = Relay(config, clocks, random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)

    async def begin(self) -> None:
        """Open a conversation, and lose its publisher."""
        await self.relay.connect_device().send(hello("lobby"))
        port = self.relay.connect_publisher()
        await port.send(PublisherHello("backend", 1, "test"))
        await port.send(PublishOpen(C1, ("lobby",)))
        port.close()

    def after(self, seconds: float) -> int:
        """The number of publishers that the relay knows after some time."""
        self.now_us += round(seconds * 1e6)
        self.relay.tick()
        return len(self.relay.publishers.known())


async def test_a_relay_that_is_cut_off_waits_longer_for_publishers() -> None:
    """As long as for a device; otherwise a partition of 10 s would end the conversations of publishers on the other side."""
    there, cut_off = Waiting(), Waiting()
    cut_off.relay.publishers.is_cut_off = lambda: True
    await there.begin()
    await cut_off.begin()
    assert (there.after(6), cut_off.after(6)) == (0, 1)
    assert cut_off.after(23) == 1
    assert cut_off.after(2) == 0


async def test_a_device_from_another_relay_waits_longer_for_publishers_in_a_cluster() -> None:
    """They may be at a relay that cannot reach this one; without a cluster, they come to this relay or not at all."""
    for in_cluster, adopted in ((True, True), (False, False)):
        waiting = Waiting()
        waiting.relay.in_cluster = in_cluster
        await waiting.relay.connect_device().send(hello("lobby", token="of another relay", cursors=(Cursor("c1", 4),)))
        waiting.after(20 + waiting.relay.config.peer_timeout_us / 1e6)
        (session,) = waiting.relay.sessions()
        assert session.adoption.holds("c1") is adopted


def test_a_relay_that_falls_silent_is_missing_for_a_time() -> None:
    """One that leaves is not."""
    members = Members()
    members.heard("b", 0)
    assert not members.missing(SILENCE_US - 1)
    assert members.missing(SILENCE_US)
    assert not members.missing(MISSING_US)
    members.heard("b", MISSING_US)
    members.left("b")
    assert not members.missing(MISSING_US + SILENCE_US)
