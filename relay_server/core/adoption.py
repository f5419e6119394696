"""What a device brought along from a relay that is gone, until its publisher comes back for it. Pure.

Rules
- A device that presents a token which this relay never gave goes on playing what it holds. For a while (what a
  publisher needs to notice, and its lease) its conversations may be opened again by their publishers, from where the device is.
- Until then its events about conversations that nobody opened here are not acknowledged, so that it repeats them. They are kept
  as well, and told as soon as the publisher comes: a relay that is killed again would be gone before they are repeated.
- What nobody came back for in time is ended: the device plays out what it holds of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import Cursor
from avatar_relay.messages import Finished, PlayerEvent

MAX_KEPT_EVENTS = 1_024


class Adoption:
    """Conversations of one device that have no publisher here yet."""

    def __init__(self) -> None:
        self.token = ""
        """The other relay's token: its device may present it once more, where our welcome got lost."""
        self.until_us = 0
        """When publishers are no longer waited for; 0 while none is."""
        self._cursors: dict[str, Cursor] = {}
        self._events: dict[tuple[int, str], tuple[PlayerEvent, int]] = {}

    @property
    def began(self) -> bool:
        """Whether the device came from another relay."""
        return bool(self.token)

    def begin(self, token: str, cursors: Iterable[Cursor], until_us: int) -> None:
        """The device came with another relay's token, and holds this; the bound is that of what a device remembers."""
        self.token, self.until_us = token, until_us
        self._cursors = {cursor.conversation_id: cursor for cursor in list(cursors)[:MAX_CLOSED_CONVERSATIONS]}

    def waits(self, now_us: int) -> bool:
        """Whether publishers may still come back."""
        return now_us < self.until_us

    def holds(self, conversation_id: str) -> bool:
        """Whether the device plays a conversation that nobody opened here yet."""
        return conversation_id in self._cursors

    def claim(self, conversation_id: str) -> Cursor | None:
        """A publisher came back for a conversation: what the device holds of it, None if it is not playing it."""
        return self._cursors.pop(conversation_id, None)

    def keep(self, event: PlayerEvent, now_us: int) -> None:
        """The device tells something of a conversation that nobody opened here yet. Beyond the bound the oldest goes: it is repeated."""
        self._events[event.event_id, event.conversation_id] = event, now_us
        if len(self._events) > MAX_KEPT_EVENTS:
            del self._events[next(iter(self._events))]

    def is_done(self, conversation_id: str) -> bool:
        """Whether the device told the end of a conversation that nobody opened here yet."""
        return any(event.conversation_id == conversation_id and isinstance(event.body, Finished) for event, _ in self._events.values())

    def told(self, conversation_id: str) -> tuple[tuple[PlayerEvent, int], ...]:
        """What the device told of a conversation that was opened again now, in order, each with its time; once."""
        kept = tuple(told for told in self._events.values() if told[0].conversation_id == conversation_id)
        for event, _ in kept:
            del self._events[event.event_id, conversation_id]
        return kept

    def expire(self, now_us: int) -> tuple[Cursor, ...] | None:
        """Once, when the time is over: what nobody came back for; None before that, and after."""
        if not self.until_us or self.waits(now_us):
            return None
        left = tuple(self._cursors.values())
        self.until_us = 0
        self._cursors.clear()
        self._events.clear()
        return left
