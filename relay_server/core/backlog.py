"""Messages queued for a publisher, and events that it may have missed; bounded in messages and bytes. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator

from avatar_relay.messages import ConversationError, Held, Opened, PlayerEvent, PublisherWelcome, ToPublisher

MAX_BACKLOG = 4_096
"""Limit on messages queued for a publisher that is away or reads slowly."""
MAX_BACKLOG_BYTES = 2 << 20
"""Limit on their approximate size in memory."""
_MESSAGE_BYTES, _ENTRY_BYTES, _CHARACTER_BYTES = 256, 192, 4


def size_of(message: ToPublisher) -> int:
    """The approximate size of a message in memory; overestimated."""
    match message:
        case ConversationError():
            return _MESSAGE_BYTES + _CHARACTER_BYTES * len(message.fault.text)
        case Held():
            return _MESSAGE_BYTES + _ENTRY_BYTES * len(message.cursors)
        case Opened():
            return _MESSAGE_BYTES + _ENTRY_BYTES * len(message.device_ids)
        case PublisherWelcome():
            return _MESSAGE_BYTES + _ENTRY_BYTES * len(message.taken)
        case _:
            return _MESSAGE_BYTES


class Backlog:
    """Messages in order. Beyond the bounds the oldest are dropped, except those given to `begin`."""

    def __init__(self) -> None:
        self._first: deque[ToPublisher] = deque()
        self._messages: deque[ToPublisher] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._messages)

    def __iter__(self) -> Iterator[ToPublisher]:
        yield from self._first
        yield from self._messages

    def append(self, message: ToPublisher) -> int:
        """Queue a message; returns how many were dropped for it."""
        self._messages.append(message)
        self._bytes += size_of(message)
        gone = 0
        while len(self._messages) > 1 and (len(self._messages) > MAX_BACKLOG or self._bytes > MAX_BACKLOG_BYTES):
            self._bytes -= size_of(self._messages.popleft())
            gone += 1
        return gone

    def popleft(self) -> ToPublisher:
        """Remove and return the oldest message."""
        if self._first:
            return self._first.popleft()
        message = self._messages.popleft()
        self._bytes -= size_of(message)
        return message

    def begin(self, first: Iterable[ToPublisher]) -> None:
        """Discard all messages and start with `first`, which are never dropped."""
        self._first = deque(first)
        self._messages.clear()
        self._bytes = 0


class Unacknowledged:
    """Player events that a publisher may not have, by device. The cost of an acknowledgement is proportional to the events it removes."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, int], PlayerEvent] = {}
        self._ids: dict[str, list[int]] = {}
        """Sorted event ids by device."""

    def add(self, event: PlayerEvent) -> None:
        """Add an event; beyond `MAX_BACKLOG` the oldest is dropped."""
        key = event.device_id, event.event_id
        if key not in self._events:
            insort(self._ids.setdefault(event.device_id, []), event.event_id)
        self._events[key] = event
        if len(self._events) > MAX_BACKLOG:
            device_id, event_id = next(iter(self._events))
            del self._events[device_id, event_id]
            self._drop(device_id, self._ids[device_id].index(event_id), 1)

    def acknowledge(self, device_id: str, event_id: int) -> None:
        """The publisher has all events of a device up to this one."""
        ids = self._ids.get(device_id, [])
        count = bisect_right(ids, event_id)
        for gone in ids[:count]:
            del self._events[device_id, gone]
        if count:
            self._drop(device_id, 0, count)

    def all(self) -> tuple[PlayerEvent, ...]:
        """All events, in order of arrival."""
        return tuple(self._events.values())

    def __contains__(self, message: object) -> bool:
        return isinstance(message, PlayerEvent) and self._events.get((message.device_id, message.event_id)) == message

    def _drop(self, device_id: str, at: int, count: int) -> None:
        ids = self._ids[device_id]
        del ids[at : at + count]
        if not ids:
            del self._ids[device_id]
