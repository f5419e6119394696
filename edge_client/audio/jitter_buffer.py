"""Encoded audio of one conversation, put into order by sequence.

Rules of the buffer:
1. Payloads come out in the order of `seq`, each once. `push` says what became of a payload; only an accepted one is held.
2. A payload that came out or is held already is a DUPLICATE; one whose gap was given up is LATE; one that comes after
   `close` is STALE; one that would pass the bound in bytes is FULL.
3. A gap holds back all that follows until it is filled or given up by `skip_gap`. When to give up is the caller's to say.
"""

from __future__ import annotations

import enum
from collections import deque

from avatar_relay.media import Payload

_REMEMBERED_GAPS = 64


class PushResult(enum.Enum):
    """What became of a payload."""

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
        self._held_bytes = 0
        self._next_seq = 1
        self._cursor = 0
        self._gaps: deque[range] = deque(maxlen=_REMEMBERED_GAPS)
        self._closed = False

    @property
    def held_bytes(self) -> int:
        """Bytes that are held."""
        return self._held_bytes

    @property
    def next_seq(self) -> int:
        """The sequence that comes out next."""
        return self._next_seq

    @property
    def cursor(self) -> int:
        """All payloads up to this sequence came, or were given up; 0 for none."""
        return self._cursor

    @property
    def has_gap(self) -> bool:
        """Whether payloads wait behind a missing one."""
        return bool(self._held) and self._next_seq not in self._held

    def push(self, payload: Payload) -> PushResult:
        """Take a payload."""
        seq = payload.seq
        if self._closed:
            return PushResult.STALE
        if seq in self._held or (seq < self._next_seq and not self._given_up(seq)):
            return PushResult.DUPLICATE
        if seq < self._next_seq:
            return PushResult.LATE
        if self._held_bytes + len(payload.data) > self._max_bytes:
            return PushResult.FULL
        self._held[seq] = payload
        self._held_bytes += len(payload.data)
        while self._cursor + 1 in self._held:
            self._cursor += 1
        return PushResult.ACCEPTED

    def take(self) -> Payload | None:
        """The next payload in order; None where it is missing."""
        payload = self._held.pop(self._next_seq, None)
        if payload is None:
            return None
        self._next_seq += 1
        self._held_bytes -= len(payload.data)
        return payload

    def peek(self) -> Payload | None:
        """What `take` would give."""
        return self._held.get(self._next_seq)

    def skip_gap(self) -> int:
        """Give up what is missing before the first held payload; returns how many payloads that are."""
        if not self.has_gap:
            return 0
        first = min(self._held)
        missing = range(self._next_seq, first)
        self._gaps.append(missing)
        self._next_seq = first
        self._cursor = max(self._cursor, first)
        while self._cursor + 1 in self._held:
            self._cursor += 1
        return len(missing)

    def close(self) -> None:
        """Discard what is held, and accept nothing from now on."""
        self._closed = True
        self._held, self._held_bytes = {}, 0

    def _given_up(self, seq: int) -> bool:
        return any(seq in gap for gap in self._gaps)
