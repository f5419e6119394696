"""Which player events of a device its publishers have not acknowledged yet. Pure.

A device repeats its events until they are acknowledged, all up to a number at once. Several publishers may own the
conversations on one device, so the number that the device is told lies before the first event that anyone still lacks.
An event without a number (0: a device typed by hand) is never repeated and needs no acknowledgement.
"""

from __future__ import annotations

MAX_PENDING = 1_024
"""Events that may be unacknowledged; beyond that the oldest counts as acknowledged."""


class EventLedger:
    """Events by id, with the publisher that has still to acknowledge each."""

    def __init__(self) -> None:
        self._pending: dict[int, str] = {}
        self._highest = 0
        self._told = 0
        self._asked = False

    def settled(self, event_id: int) -> bool:
        """Whether the device was told already that this event arrived; it asks again then, as `due` remembers."""
        repeated = 0 < event_id <= self._told
        self._asked |= repeated
        return repeated

    def record(self, event_id: int, publisher: str | None) -> None:
        """An event arrived, for a publisher that will acknowledge it, or for nobody who would; the latest word on it counts."""
        self._highest = max(self._highest, event_id)
        if publisher is None:
            self._pending.pop(event_id, None)
        elif event_id:
            self._pending[event_id] = publisher
        if len(self._pending) > MAX_PENDING:
            del self._pending[min(self._pending)]

    def acknowledge(self, publisher: str, event_id: int | None = None) -> None:
        """A publisher has all its events up to this one; with None it is gone for good."""
        for pending, owner in list(self._pending.items()):
            if owner == publisher and (event_id is None or pending <= event_id):
                del self._pending[pending]

    def due(self) -> int:
        """The number to tell the device now; 0 where it knows."""
        upto = min(self._pending, default=self._highest + 1) - 1
        if upto <= self._told and not self._asked:
            return 0
        self._told = max(self._told, upto)
        self._asked = False
        return self._told
