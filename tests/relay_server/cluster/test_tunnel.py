"""One end of a tunnel, on a clock of the test."""

from __future__ import annotations

from collections.abc import Sequence

from avatar_relay.reasons import Fault, Reason
from relay_server.cluster.frames import TunnelRecord
from relay_server.cluster.members import SILENCE_US
from relay_server.cluster.tunnel import Tunnel
from relay_server.links.links import TunnelEnd


class FakePath:
    """Accepts all messages, which arrive nowhere."""

    finds_silence = False

    async def open(self, user: TunnelEnd) -> None:
        """See `TunnelPath`."""

    def publish(self, messages: Sequence[bytes]) -> None:
        """See `TunnelPath`."""

    def close(self) -> None:
        """See `TunnelPath`."""


class Watched:
    """A tunnel, and how it ended."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.faults: list[Fault | None] = []
        self.tunnel = Tunnel(FakePath(), take=self._take, ended=self.faults.append, now_us=lambda: self.now_us)

    def _take(self, record: TunnelRecord) -> None:
        del record


def test_a_silent_end_is_gone() -> None:
    """The tunnel ends as MOVED."""
    watched = Watched()
    watched.now_us += SILENCE_US
    watched.tunnel.tick()
    assert watched.faults == []
    watched.now_us += 1
    watched.tunnel.tick()
    assert [fault.reason for fault in watched.faults if fault is not None] == [Reason.MOVED]


def test_time_in_which_nothing_could_be_heard_is_no_silence() -> None:
    """A relay that was busy for seconds has messages of others waiting: it does not end all tunnels. It never counts ahead."""
    watched = Watched()
    watched.now_us += 3 * SILENCE_US
    watched.tunnel.tick(busy_us=2 * SILENCE_US)
    watched.tunnel.tick(busy_us=9 * SILENCE_US)
    assert watched.faults == []
    watched.now_us += SILENCE_US + 1
    watched.tunnel.tick()
    assert len(watched.faults) == 1
