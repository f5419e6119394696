"""Limits what a door has sent to a home, and the home has not handled yet, for each publisher's stream and for each identity.

A home answers pings in order, so a pong says that it has handled what was sent before the ping. The door adds pings of its own to those of
the publisher. All tunnels to a home share one queue on NATS: without these limits, a publisher that ignores its credit could fill it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay_server.cluster.frames import TunnelRecord

WINDOW_BYTES = 512 << 10
"""Limit for one tunnel. A larger message is sent when nothing else of the tunnel is unhandled."""
SHARE_BYTES = 4 << 20
"""Limit for all tunnels of one identity to a home; one larger message may exceed it."""
PING_BYTES = WINDOW_BYTES // 4
"""The door sends a ping of its own when so much was sent since the last one."""
RECORD_BYTES = 64
"""Counted for each record in addition to its own bytes, so that many tiny ones are bounded too."""


def size_of(records: Iterable[TunnelRecord]) -> int:
    """The size of records, as the window counts it."""
    return sum([RECORD_BYTES + len(record.data) for record in records])


@dataclass(slots=True, weakref_slot=True, eq=False)
class SentBytes:
    """Unhandled bytes of all tunnels of one identity to a home, or of one tunnel if there are no identities."""

    unhandled: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be room."""


class SendWindow:
    """The window of one tunnel. Belongs to one event loop."""

    def __init__(self, shared: SentBytes) -> None:
        """`shared`: the unhandled bytes of the same identity, including this tunnel's."""
        self._shared = shared
        self._unhandled = 0
        self._since_ping = 0
        self._pings: deque[tuple[bool, int]] = deque()
        """For each unanswered ping, whether it is the door's own, and the bytes sent between the previous one and it."""
        self._closed = False

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes may be sent now; always after the end."""
        size = min(size, WINDOW_BYTES)
        return self._closed or (self._unhandled + size <= WINDOW_BYTES and self._shared.unhandled + size <= SHARE_BYTES)

    async def room(self, size: int) -> None:
        """Wait until `has_room`. All that was sent must be followed by a ping. Safe to cancel."""
        while not self.has_room(size):
            self._shared.changed.clear()
            await self._shared.changed.wait()

    @property
    def needs_ping(self) -> bool:
        """Whether something was sent after the last ping."""
        return self._since_ping > 0

    def sent(self, size: int) -> bool:
        """Count bytes that are being sent; returns whether the door must send a ping after them."""
        self._unhandled += size
        self._shared.unhandled += size
        self._since_ping += size
        return self._since_ping >= PING_BYTES

    def pinged(self, *, own: bool) -> None:
        """Note a ping after all bytes counted until now; `own`: the door's, not the publisher's."""
        self._pings.append((own, self._since_ping))
        self._since_ping = 0

    def answered(self) -> bool:
        """Note a pong; returns whether it answers a ping of the door's own."""
        if not self._pings:
            return False
        own, size = self._pings.popleft()
        self._give_back(size)
        return own

    def close(self) -> None:
        """The tunnel is over: wait for nothing any more. Idempotent."""
        self._closed = True
        self._pings.clear()
        self._give_back(self._unhandled)

    def _give_back(self, size: int) -> None:
        self._unhandled -= size
        self._shared.unhandled -= size
        self._shared.changed.set()
