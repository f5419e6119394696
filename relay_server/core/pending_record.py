"""A value that operators set and a device stores, as known to the relay. Pure.

Rules
- The device stores the value and sends it in `hello`, with a revision. A value set by operators or publishers gets the revision
  after the last known one.
- A set value is pending until the device reports that it has stored the same value, with at least that revision.
- The value in `hello` may not be stored, so it confirms nothing. A pending value then gets a revision above the device's, and
  is sent in `welcome`.
- If nothing is pending, the device's value is adopted.
- A device that reports no value confirms nothing: the last value set is sent in each `welcome`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

MAX_PENDING = 4_096
"""Limit on devices without a session whose pending value is kept; beyond it the oldest is dropped."""


class Revisioned(Protocol):
    """A frozen dataclass with a revision."""

    @property
    def revision(self) -> int:
        """Number of the last change."""
        ...


Value = TypeVar("Value", bound=Revisioned)


class PendingRecord(Generic[Value]):
    """One device's value, as known to the relay."""

    def __init__(self, value: Value, same: Callable[[Value, Value], bool]) -> None:
        """`same` compares two values without their revisions."""
        self.value = value
        self._same = same
        self.pending = False
        """Whether the value was set and the device has not confirmed it."""

    def set(self, value: Value) -> None:
        """Set the value; its own revision is ignored."""
        self.value = _numbered(value, self.value.revision + 1)
        self.pending = True

    def hello(self, told: Value | None) -> bool:
        """Handle the value in `hello`, None if there is none; returns whether the record changed. `value` is then sent in `welcome`."""
        if told is None:
            return False
        if self.pending:
            self.value = _numbered(self.value, max(self.value.revision, told.revision + 1))
            return False
        return self._take(told)

    def told(self, told: Value) -> bool:
        """Handle a value that the device has stored; returns whether the record changed."""
        return (not self.pending or self._confirms(told)) and self._take(told)

    def _confirms(self, told: Value) -> bool:
        return self._same(told, self.value) and told.revision >= self.value.revision

    def _take(self, told: Value) -> bool:
        before = self.value, self.pending
        self.value, self.pending = told, False
        return before != (told, False)


def _numbered(value: Value, revision: int) -> Value:
    changed: Any = value
    numbered: Value = replace(changed, revision=revision)
    return numbered


Record = TypeVar("Record", bound=PendingRecord[Any])


class PendingRecords(Generic[Record]):
    """Pending values of devices whose session ended."""

    def __init__(self, make: Callable[[str], Record]) -> None:
        """`make` creates the record of an unknown device."""
        self._make = make
        self._records: OrderedDict[str, Record] = OrderedDict()

    def keep(self, device_id: str, record: Record) -> None:
        """Keep the record of a session that ends, if its value is pending."""
        if record.pending:
            self._records[device_id] = record
            if len(self._records) > MAX_PENDING:
                self._records.popitem(last=False)

    def take(self, device_id: str) -> Record:
        """The record for a new session: the kept one of the device, or a new one."""
        return self._records.pop(device_id, None) or self._make(device_id)
