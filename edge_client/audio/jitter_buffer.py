"""Encoded audio of one conversation, reordered by sequence number.

Rules of the buffer:
1. Payloads are returned in the order of `seq`, each once. `push` returns what happened to a payload; only an accepted one is held.
2. A payload that was returned or is held already is a DUPLICATE; one whose gap was given up is LATE; one after `close` is STALE; one that
   would exceed the bound in bytes is FULL.
3. A gap holds back all that follows until it is filled or given up by `skip_gap`. The caller decides when to give up.
"""

from __future__ import annotations

import enum
from collections import deque

from avatar_relay.media import Payload

_REMEMBERED_GAPS = 64


class PushResult(enum.Enum):
    """What happened to a payload."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LATE = "late"
    STALE = "stale"
    FULL = "full"


class JitterBuffer:
    """Holds whole payloads; bounded by `max_bytes`. Not thread-safe."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: dict[int, Payload] = {}
        self.held_bytes = 0
        """Bytes that are held."""
        self.next_seq = 1
        """The next sequence number to return."""
        self.cursor = 0
        """All payloads up to this sequence number were received or given up; 0 for none."""
        self._gaps: deque[range] = deque(maxlen=_REMEMBERED_GAPS)
        self._closed = False

    @property
    def has_gap(self) -> bool:
        """Whether payloads wait behind a missing one."""
        return bool(self._held) and self.next_seq not in self._held

    def push(self, payload: Payload) -> PushResult:
        """Accept or refuse a payload."""
        seq = payload.seq
        if self._closed:
            return PushResult.STALE
        if seq in self._held or (seq < self.next_seq and not self._given_up(seq)):
            return PushResult.DUPLICATE
        if seq < self.next_seq:
            return PushResult.LATE
        if self.held_bytes + len(payload.data) > self._max_bytes:
            return PushResult.FULL
        self._held[seq] = payload
        self.held_bytes += len(payload.data)
        while self.cursor + 1 in self._held:
            self.cursor += 1
        return PushResult.ACCEPTED

    def take(self) -> Payload | None:
        """The next payload in order; None if it is missing."""
        payload = self._held.pop(self.next_seq, None)
        if payload is None:
            return None
        self.next_seq += 1
        self.held_bytes -= len(payload.data)
        return payload

    def peek(self) -> Payload | None:
        """The payload that `take` would return."""
        return self._held.get(self.next_seq)

    def skip_gap(self) -> int:
        """Give up the payloads missing before the first held one; returns their number."""
        if not self.has_gap:
            return 0
        first = min(self._held)
        missing = range(self.next_seq, first)
        self._gaps.append(missing)
        self.next_seq = first
        self.cursor = max(self.cursor, first)
        while self.cursor + 1 in self._held:
            self.cursor += 1
        return len(missing)

    def close(self) -> None:
        """Discard what is held, and accept nothing from now on."""
        self._closed = True
        self._held, self.held_bytes = {}, 0

    def _given_up(self, seq: int) -> bool:
        return any(seq in gap for gap in self._gaps)
