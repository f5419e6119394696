"""Which player events of a device its publishers have not acknowledged yet. Pure.

A device repeats its events until they are acknowledged, all up to a number at once. Several publishers may own the
conversations on one device, so the number that the device is told lies before the first event that anyone still lacks.
An event without a number (0: a device typed by hand) is never repeated and needs no acknowledgement.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

MAX_PENDING = 1_024
"""Events that may be unacknowledged; beyond that the oldest counts as acknowledged."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A finished conversation: whose it was, and the event that finished it (0: the relay did)."""

    publisher: str
    event_id: int


class EventLedger:
    """Events by id, with the publisher that has still to acknowledge each. An acknowledgement costs what it removes."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        self._ids: dict[str, list[int]] = {}
        """By publisher, sorted."""
        self._highest = 0
        self._told = 0
        self._asked = False

    def settled(self, event_id: int) -> bool:
        """Whether the device was told already that this event arrived; it asks again then, as `due` remembers."""
        repeated = 0 < event_id <= self._told
        self._asked |= repeated
        return repeated

    def record(self, event_id: int, publisher: str | None) -> None:
        """An event arrived, for a publisher that will acknowledge it, or for none; the latest report counts."""
        self._highest = max(self._highest, event_id)
        self._forget(event_id)
        if publisher is not None and event_id:
            self._owners[event_id] = publisher
            insort(self._ids.setdefault(publisher, []), event_id)
        if len(self._owners) > MAX_PENDING:
            self._forget(min(ids[0] for ids in self._ids.values()))

    def acknowledge(self, publisher: str, event_id: int | None = None) -> None:
        """A publisher has all its events up to this one; with None it is gone for good."""
        ids = self._ids.get(publisher, [])
        count = len(ids) if event_id is None else bisect_right(ids, event_id)
        for gone in ids[:count]:
            del self._owners[gone]
        del ids[:count]
        if not ids:
            self._ids.pop(publisher, None)

    def due(self) -> int:
        """The number to tell the device now; 0 if it knows."""
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
