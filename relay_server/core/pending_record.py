"""A value of a device that operators set from here and the device stores, as the relay knows it. Pure.

Rules
- The device stores it and tells it in `hello`, with a revision. The relay numbers what operators and publishers set: one more than
  the last revision that it knows of the device.
- What was set is pending until the device tells that it has stored the same, with a revision not below.
- A `hello` tells what the device has, stored or not: it confirms nothing. What is pending then gets a revision above the device's, and
  goes out in `welcome`.
- Without anything pending, what the device tells holds.
- A device that tells nothing confirms nothing: what was last set goes out in each `welcome`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

MAX_PENDING = 4_096
"""Devices without a session whose pending value is remembered; beyond that the longest unchanged is forgotten."""


class Revisioned(Protocol):
    """A frozen dataclass with a revision."""

    @property
    def revision(self) -> int:
        """Numbers its changes."""
        ...


Value = TypeVar("Value", bound=Revisioned)


class PendingRecord(Generic[Value]):
    """One device's value as the relay knows it."""

    def __init__(self, value: Value, same: Callable[[Value, Value], bool]) -> None:
        """`same` says whether two values are the same but for their revisions."""
        self.value = value
        self._same = same
        self.pending = False
        """It was set, and the device has not confirmed it."""

    def set(self, value: Value) -> None:
        """Somebody sets it; the revision that comes with it does not count."""
        self.value = _numbered(value, self.value.revision + 1)
        self.pending = True

    def hello(self, told: Value | None) -> bool:
        """A device's `hello` tells its value; returns whether what is known has changed. What `value` is then goes into `welcome`."""
        if told is None:
            return False
        if self.pending:
            self.value = _numbered(self.value, max(self.value.revision, told.revision + 1))
            return False
        return self._take(told)

    def told(self, told: Value) -> bool:
        """A device tells what it has stored; returns whether what is known has changed."""
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
    """What is pending for devices whose session ended."""

    def __init__(self, make: Callable[[str], Record]) -> None:
        """`make` makes the record of a device of which nothing is known."""
        self._make = make
        self._records: OrderedDict[str, Record] = OrderedDict()

    def keep(self, device_id: str, record: Record) -> None:
        """A session ends."""
        if record.pending:
            self._records[device_id] = record
            if len(self._records) > MAX_PENDING:
                self._records.popitem(last=False)

    def take(self, device_id: str) -> Record:
        """A session begins: what was pending for the device, else a new record."""
        return self._records.pop(device_id, None) or self._make(device_id)
