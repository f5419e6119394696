"""Conversations of a device that came from another relay, until their publishers reclaim them. Pure.

Rules
- A device that presents a token not issued by this relay continues to play the media it holds. For a limited time (the time for a
  publisher to notice, plus its lease) publishers may reopen its conversations from the device's cursor.
- Until then its events about conversations not open here are not acknowledged, so that it repeats them. They are also
  stored, and sent as soon as the publisher reconnects: if this relay is killed too, the repetition could come too late.
- Conversations not reclaimed in time are ended: the device plays out the media it holds.
"""

from __future__ import annotations

from collections.abc import Iterable

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import Cursor
from avatar_relay.messages import Finished, PlayerEvent

MAX_KEPT_EVENTS = 1_024


class Adoption:
    """The conversations of one device that have no publisher here yet."""

    def __init__(self) -> None:
        self.token = ""
        """The other relay's token: the device may present it again if `welcome` was lost."""
        self.until_us = 0
        """When the wait for publishers ends; 0 if not waiting."""
        self._cursors: dict[str, Cursor] = {}
        self._events: dict[tuple[int, str], tuple[PlayerEvent, int]] = {}

    @property
    def began(self) -> bool:
        """Whether the device came from another relay."""
        return bool(self.token)

    def begin(self, token: str, cursors: Iterable[Cursor], until_us: int) -> None:
        """Begin the adoption of a device with another relay's token and these cursors, limited to `MAX_CLOSED_CONVERSATIONS`."""
        self.token, self.until_us = token, until_us
        self._cursors = {cursor.conversation_id: cursor for cursor in list(cursors)[:MAX_CLOSED_CONVERSATIONS]}

    def waits(self, now_us: int) -> bool:
        """Whether publishers may still reclaim conversations."""
        return now_us < self.until_us

    def holds(self, conversation_id: str) -> bool:
        """Whether the device plays a conversation that is not open here yet."""
        return conversation_id in self._cursors

    def claim(self, conversation_id: str) -> Cursor | None:
        """Reclaim a conversation for its publisher; returns the device's cursor, None if the device is not playing it."""
        return self._cursors.pop(conversation_id, None)

    def keep(self, event: PlayerEvent, now_us: int) -> None:
        """Store an event of a conversation not open here yet. Beyond the bound the oldest is dropped, as the device repeats it."""
        self._events[event.event_id, event.conversation_id] = event, now_us
        if len(self._events) > MAX_KEPT_EVENTS:
            del self._events[next(iter(self._events))]

    def is_done(self, conversation_id: str) -> bool:
        """Whether the device reported the end of a conversation that is not open here yet."""
        return any(event.conversation_id == conversation_id and isinstance(event.body, Finished) for event, _ in self._events.values())

    def told(self, conversation_id: str) -> tuple[tuple[PlayerEvent, int], ...]:
        """Remove and return the stored events of a conversation that was just reopened, in order, each with its time of arrival."""
        kept = tuple(told for told in self._events.values() if told[0].conversation_id == conversation_id)
        for event, _ in kept:
            del self._events[event.event_id, conversation_id]
        return kept

    def expire(self, now_us: int) -> tuple[Cursor, ...] | None:
        """End the wait if its time is over; returns the unclaimed cursors once, None before that and on later calls."""
        if not self.until_us or self.waits(now_us):
            return None
        left = tuple(self._cursors.values())
        self.until_us = 0
        self._cursors.clear()
        self._events.clear()
        return left
