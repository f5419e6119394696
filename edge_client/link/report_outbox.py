"""Outgoing messages to the relay. Bounded, and never staler than necessary.

Rules
1. Credit and held cursors are states: unsent ones are merged with new ones (sums, latest cursor). If the relay accepts joined
   messages, they may wait for another one, until 1 / `_MUCH` of the stream's first credit waits: they cost it as much as a payload.
2. A stream begins with `hello`, which carries the total credit and all cursors: what was merged before it is discarded.
3. Player events get ids from 1 for each session, are sent in order, and are kept until acknowledged; they are sent again on a new stream
   and after `REPEAT_US` without acknowledgement. A new session renumbers the remaining ones from 1.
4. At most `MAX_EVENTS` events are kept. When one more arrives, the oldest event other than `Finished` is dropped (others wait for
   `Finished`); only if there is none, the oldest `Finished`. Both are counted.
5. Conversation errors and pongs are kept in short queues; the oldest is dropped first, and counted.
6. Volume, settings, and the state of the parts are states: the last one is sent. `hello` carries volume and settings too.
7. `goodbye` is the last message: nothing is returned after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TypeVar

from avatar_relay.device_state import DeviceSettings, Parts
from avatar_relay.media import Credit, Cursor
from avatar_relay.messages import ConversationError, Finished, Goodbye, Held, PlayerEvent, Pong, Volume
from edge_client.playback.events import ConversationEvent

REPEAT_US = 2_000_000
MAX_EVENTS = 512
MAX_ERRORS = 64
MAX_PONGS = 16
MAX_CURSORS = 256
"""Maximum number of cursors in one message; those unchanged the longest are left out."""

_MUCH = 4
"""Less than what the player grants at once (`ledgers`), so such a grant never waits."""

T = TypeVar("T")
Posted = Credit | Held | ConversationEvent | ConversationError | Pong | Volume | DeviceSettings | Parts | Goodbye
"""Messages that are put in."""
Outgoing = Credit | Held | PlayerEvent | ConversationError | Pong | Volume | DeviceSettings | Parts | Goodbye
"""Messages that are taken out."""


@dataclass(slots=True)
class _Kept:
    event: PlayerEvent
    sent_time_us: int | None = None


class ReportOutbox:
    """Queues messages of player and link, and returns them one at a time. Not thread-safe."""

    def __init__(self) -> None:
        self._credit = self._first_credit = Credit()
        self._cursors: dict[str, Cursor] = {}
        self._events: deque[_Kept] = deque()
        self._errors: deque[ConversationError] = deque()
        self._pongs: deque[Pong] = deque()
        self._volume: Volume | None = None
        self._settings: DeviceSettings | None = None
        self._parts: Parts | None = None
        self._goodbye: Goodbye | None = None
        self._over = False
        self._last_event_id = 0
        self.dropped = 0
        """Messages dropped because a queue was full (rules 4 and 5)."""

    @property
    def unacknowledged(self) -> int:
        """Events that the relay has not acknowledged."""
        return len(self._events)

    def put(self, message: Posted) -> None:
        """Queue a message. An event's id is assigned here."""
        match message:
            case Credit():
                total = self._credit
                self._credit = Credit(total.audio_bytes + message.audio_bytes, total.motion_bytes + message.motion_bytes)
            case Held():
                self._merge(message)
            case ConversationEvent():
                self._keep(message)
            case ConversationError():
                self._bounded(self._errors, message, MAX_ERRORS)
            case Pong():
                self._bounded(self._pongs, message, MAX_PONGS)
            case Volume():
                self._volume = message
            case DeviceSettings():
                self._settings = message
            case Parts():
                self._parts = message
            case Goodbye():
                self._goodbye = message

    def acknowledge(self, event_id: int) -> None:
        """Discard all events up to and including `event_id`."""
        while self._events and self._events[0].event.event_id <= event_id:
            self._events.popleft()

    def may_wait(self, *, joins: bool) -> bool:
        """Whether all that is queued may wait for another message (rule 1); also if nothing is. `joins`: the relay accepts joined ones."""
        waiting, first = self._credit, self._first_credit
        much = waiting.audio_bytes * _MUCH > first.audio_bytes or waiting.motion_bytes * _MUCH > first.motion_bytes
        if not joins or much:
            return False
        states = (self._volume, self._settings, self._parts, self._goodbye)
        unsent = any(kept.sent_time_us is None for kept in self._events)
        return not (self._pongs or unsent or self._errors) and all(state is None for state in states)

    def begin_stream(self, credit: Credit) -> None:
        """Prepare for a `hello` created now, with this credit: it replaces pending credit, cursors and volume. Parts and events
        will be sent again."""
        self._first_credit = credit
        self._credit = Credit()
        self._cursors.clear()
        self._pongs.clear()
        self._volume = self._settings = self._parts = None
        self._over = False
        self._goodbye = None
        for kept in self._events:
            kept.sent_time_us = None

    def begin_session(self) -> None:
        """Begin a session without shared state: number the remaining events from 1."""
        for number, kept in enumerate(self._events, start=1):
            kept.event = replace(kept.event, event_id=number)
        self._last_event_id = len(self._events)

    def take(self, now_us: int) -> Outgoing | None:
        """The next message to send, or None if nothing waits."""
        if self._over:
            return None
        if self._pongs:
            return self._pongs.popleft()
        if (event := self._due_event(now_us)) is not None:
            return event
        if self._errors:
            return self._errors.popleft()
        if self._volume is not None:
            volume, self._volume = self._volume, None
            return volume
        if self._settings is not None:
            settings, self._settings = self._settings, None
            return settings
        if self._parts is not None:
            parts, self._parts = self._parts, None
            return parts
        if self._credit != Credit():
            credit, self._credit = self._credit, Credit()
            return credit
        if self._cursors:
            held = Held(tuple(self._cursors.values()))
            self._cursors.clear()
            return held
        self._over = self._goodbye is not None
        return self._goodbye

    def _due_event(self, now_us: int) -> PlayerEvent | None:
        for kept in self._events:
            if kept.sent_time_us is None or now_us - kept.sent_time_us >= REPEAT_US:
                kept.sent_time_us = now_us
                return kept.event
        return None

    def _keep(self, event: ConversationEvent) -> None:
        if len(self._events) >= MAX_EVENTS:
            spare = next((kept for kept in self._events if not isinstance(kept.event.body, Finished)), self._events[0])
            self._events.remove(spare)
            self.dropped += 1
        self._last_event_id += 1
        self._events.append(_Kept(PlayerEvent(self._last_event_id, event.conversation_id, event.body)))

    def _merge(self, held: Held) -> None:
        for cursor in held.cursors:
            self._cursors.pop(cursor.conversation_id, None)
            self._cursors[cursor.conversation_id] = cursor
        while len(self._cursors) > MAX_CURSORS:
            self._cursors.pop(next(iter(self._cursors)))

    def _bounded(self, queue: deque[T], message: T, limit: int) -> None:
        if len(queue) >= limit:
            queue.popleft()
            self.dropped += 1
        queue.append(message)
