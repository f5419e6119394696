"""The payloads of one kind in a publisher's conversation: those that wait for credit, and those that not all devices hold."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from avatar_relay.media import Kind, Payload
from avatar_relay.messages import Dropped
from avatar_relay.reasons import DropReason

RETAIN_BYTES = 8 << 20
"""Bound of sent data that not all devices hold: a relay's window (2.5 MiB) and the devices' buffers."""


@dataclass(slots=True)
class MediaQueue:
    """Waiting payloads of one kind. `seq` is the last one assigned, `credit` the bytes that may still be sent."""

    payloads: deque[Payload] = field(default_factory=deque)
    waiting_bytes: int = 0
    credit: int = 0
    seq: int = 0
    sent: deque[Payload] = field(default_factory=deque)
    """Sent payloads that not all devices hold."""
    sent_bytes: int = 0
    released_seq: int = 0
    """Payloads up to this `seq` are no longer kept."""

    def first_us(self, room: int) -> int | None:
        """PTS of the first waiting payload, -1 if unknown; None if none waits, or it exceeds the credit or `room`."""
        if not self.payloads or len(self.payloads[0].data) > min(self.credit, room):
            return None
        pts_us = self.payloads[0].pts_us
        return -1 if pts_us is None else pts_us

    def take(self, room: int, most: int) -> list[Payload]:
        """Remove the next payloads for sending, as far as credit and `room` allow, and keep them; beyond the bound the oldest are no
        longer kept.
        """
        waiting, taken = self.payloads, list[Payload]()
        allowed = left = min(self.credit, room)
        while waiting and len(taken) < most and (size := len(waiting[0].data)) <= left:
            left -= size
            taken.append(waiting.popleft())
        self.sent += taken
        self.waiting_bytes -= allowed - left
        self.credit -= allowed - left
        self.sent_bytes += allowed - left
        while self.sent_bytes > RETAIN_BYTES:
            self.release(self.sent[0].seq)
        return taken

    def release(self, seq: int) -> None:
        """Stop keeping payloads up to `seq`."""
        while self.sent and self.sent[0].seq <= seq:
            self.sent_bytes -= len(self.sent.popleft().data)
        self.released_seq = max(self.released_seq, seq)

    def rewind(self, seq: int, offset: int) -> None:
        """Queue what the relay did not receive, and nothing else: it has whole payloads up to `seq`, and `offset` bytes of the next one."""
        everything = [*self.sent, *self.payloads]
        self.sent = deque(payload for payload in everything if payload.seq <= seq + (payload.fragment_offset < offset))
        self.payloads = deque(everything[len(self.sent) :])
        self.sent_bytes = sum(len(payload.data) for payload in self.sent)
        self.waiting_bytes = sum(len(payload.data) for payload in self.payloads)
        self.credit = 0

    def discard(self, kind: Kind) -> Dropped | None:
        """Discard waiting payloads and return what was dropped; a partly sent payload counts."""
        if not self.payloads:
            return None
        dropped = Dropped(kind, len({payload.seq for payload in self.payloads}), self.waiting_bytes, DropReason.CONVERSATION_CLOSED)
        self.payloads.clear()
        self.waiting_bytes = 0
        return dropped
