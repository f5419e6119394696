"""Player events of a device that its publishers have not acknowledged yet. Pure.

A device repeats its events until they are acknowledged cumulatively. Several publishers may own the
conversations on one device, so the number sent to the device is the last one before the first unacknowledged event.
An event with number 0 (from a device simulated with grpcurl) is never repeated and needs no acknowledgement.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

MAX_PENDING = 1_024
"""Limit on unacknowledged events; beyond it the oldest counts as acknowledged."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A finished conversation: its publisher, the id of its finished event (0: made by the relay), and the reason reported with it."""

    publisher: str
    event_id: int
    reason: str


class EventLedger:
    """Unacknowledged events by id, each with its publisher. The cost of an acknowledgement is proportional to the events it removes."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        self._ids: dict[str, list[int]] = {}
        """Sorted event ids by publisher."""
        self._highest = 0
        self._told = 0
        self._asked = False

    def settled(self, event_id: int) -> bool:
        """Whether this event was already acknowledged to the device. If so, `due` will return the number again."""
        repeated = 0 < event_id <= self._told
        self._asked |= repeated
        return repeated

    def record(self, event_id: int, publisher: str | None) -> None:
        """Record an event and the publisher that will acknowledge it, None if there is none. A repetition replaces the earlier record."""
        self._highest = max(self._highest, event_id)
        self._forget(event_id)
        if publisher is not None and event_id:
            self._owners[event_id] = publisher
            insort(self._ids.setdefault(publisher, []), event_id)
        if len(self._owners) > MAX_PENDING:
            self._forget(min(ids[0] for ids in self._ids.values()))

    def acknowledge(self, publisher: str, event_id: int | None = None) -> None:
        """Record that a publisher has all its events up to this one; None: all events, as the publisher is gone."""
        ids = self._ids.get(publisher, [])
        count = len(ids) if event_id is None else bisect_right(ids, event_id)
        for gone in ids[:count]:
            del self._owners[gone]
        del ids[:count]
        if not ids:
            self._ids.pop(publisher, None)

    def due(self) -> int:
        """The number to acknowledge to the device now; 0 if it was sent already."""
        upto = min((ids[0] for ids in self._ids.values()), default=self._highest + 1) - 1
        if upto <= self._told and not self._asked:
            return 0
        self._told = max(self._told, upto)
        self._asked = False
        return self._told

    def _forget(self, event_id: int) -> None:
        publisher = self._owners.pop(event_id, None)
        if publisher is not None:
            ids = self._ids[publisher]
            del ids[bisect_left(ids, event_id)]
            if not ids:
                del self._ids[publisher]
