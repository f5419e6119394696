"""One end of a tunnel, on a clock of the test."""

from __future__ import annotations

from collections.abc import Sequence

from avatar_relay.reasons import Fault, Reason
from relay_server.cluster.frames import FrameWriter, TunnelRecord
from relay_server.cluster.tunnel import Tunnel
from relay_server.links.beats import SILENCE_US
from relay_server.links.links import TunnelEnd


class FakePath:
    """Accepts all messages, which arrive nowhere."""

    def __init__(self, *, finds_silence: bool = False) -> None:
        self.finds_silence = finds_silence

    async def open(self, user: TunnelEnd) -> None:
        """See `TunnelPath`."""

    def publish(self, messages: Sequence[bytes]) -> None:
        """See `TunnelPath`."""

    def close(self) -> None:
        """See `TunnelPath`."""


class Watched:
    """A tunnel, and how it ended."""

    def __init__(self, *, finds_silence: bool = False) -> None:
        self.now_us = 1_000_000
        self.faults: list[Fault | None] = []
        self.tunnel = Tunnel(FakePath(finds_silence=finds_silence), take=self._take, ended=self.faults.append, now_us=lambda: self.now_us)

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


def test_a_link_finds_silence_only_for_tunnels_in_use() -> None:
    """The request to open a tunnel may arrive when its door has given it up, and its end, over the link, came before it."""
    used, orphan = Watched(finds_silence=True), Watched(finds_silence=True)
    used.tunnel.hear(*FrameWriter().messages([]))
    for watched in (used, orphan):
        watched.now_us += SILENCE_US + 1
        watched.tunnel.tick()
    assert used.faults == []
    assert [fault.reason for fault in orphan.faults if fault is not None] == [Reason.MOVED]
