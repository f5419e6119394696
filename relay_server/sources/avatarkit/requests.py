"""Assigns motion to requests: the successive requests of one vendor session, distinguished by their `req_id`.

Rules:

1. One request is current from `begin` to `close`. Its id is known once the SDK has returned it (`named`); motion that arrives earlier is
   parked, and routed then.
2. Motion with the current id belongs to the current request. After `close` the id is closed permanently: late motion of a cancelled or
   finished request is dropped as closed, and never assigned to the next one. Any other id is unknown.
3. A message that repeats the previous one, byte for byte, is a duplicate: motion messages have no sequence number, and a repetition would
   shift all that follows. Motion after the end mark is dropped, too.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from avatar_relay.avatarkit import MotionHead
from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS, UNKNOWN_CONVERSATION_HOLD_BYTES
from avatar_relay.reasons import DropReason


@dataclass(frozen=True, slots=True)
class Arrival:
    """A motion message with its parsed head."""

    head: MotionHead
    data: bytes


Routed = Arrival | DropReason | None
"""A message for the current request, the reason if it was dropped, or None if it was parked."""


class Requests:
    """The requests of one vendor session. Pure."""

    def __init__(self) -> None:
        self._open = False
        self._req_id = ""
        self._last = b""
        self._ended = False
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._parked: list[Arrival] = []
        self._parked_bytes = 0

    @property
    def req_id(self) -> str:
        """The id of the current request; empty if it is unknown, or there is no request."""
        return self._req_id

    def begin(self) -> None:
        """Begin a request, before its first sound is sent."""
        assert not self._open
        self._open = True

    def named(self, req_id: str) -> list[Routed]:
        """Set the current request's id, as returned by the SDK; returns the routing of the parked messages."""
        if not self._open or self._req_id:
            return []
        self._req_id = req_id
        parked, self._parked, self._parked_bytes = self._parked, [], 0
        return [self.route(arrival) for arrival in parked]

    def close(self) -> int:
        """End the current request; returns how many parked messages are dropped with it."""
        if self._req_id:
            self.forget(self._req_id)
        parked = len(self._parked)
        self._open, self._req_id, self._last, self._ended = False, "", b"", False
        self._parked, self._parked_bytes = [], 0
        return parked

    def forget(self, req_id: str) -> None:
        """Drop all further motion with this id."""
        self._closed[req_id] = None
        if len(self._closed) > MAX_CLOSED_CONVERSATIONS:
            self._closed.popitem(last=False)

    def route(self, arrival: Arrival) -> Routed:
        """Route a message."""
        req_id = arrival.head.req_id
        if self._req_id and req_id == self._req_id:
            return self._accept(arrival)
        if req_id in self._closed:
            return DropReason.CONVERSATION_CLOSED
        if self._open and not self._req_id and self._parked_bytes + len(arrival.data) <= UNKNOWN_CONVERSATION_HOLD_BYTES:
            self._parked.append(arrival)
            self._parked_bytes += len(arrival.data)
            return None
        return DropReason.CONVERSATION_UNKNOWN

    def _accept(self, arrival: Arrival) -> Routed:
        if arrival.data == self._last:
            return DropReason.DUPLICATE
        if self._ended:
            return DropReason.AFTER_END
        self._last, self._ended = arrival.data, arrival.head.end
        return arrival
