"""Events of an avatar, and two ways to receive them: a callback, or an async iterator."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from avatar_relay.publisher.conversation_record import Told
from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackState

MAX_WAITING_EVENTS = 256
"""Bound of the events that wait for a slow reader of `Avatar.events`; beyond it the oldest is dropped."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The state of the avatar changed."""

    state: PlaybackState


AvatarEvent = Told | StateChanged | ConversationFinished
"""Events of an avatar: player events and faults as they arrive, changes of its state, and the outcome of each conversation."""


class EventStream:
    """An avatar's events as an async iterator; beyond `MAX_WAITING_EVENTS` waiting events the oldest are dropped.

    For one reader. Ends when it is closed.
    """

    def __init__(self) -> None:
        self.unsubscribe: Callable[[], None] = lambda: None
        self._waiting: deque[AvatarEvent] = deque(maxlen=MAX_WAITING_EVENTS)
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: AvatarEvent) -> None:
        """Add an event for the reader."""
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        """Accept no more events; waiting ones can still be read."""
        self._closed = True
        self.unsubscribe()
        self._arrived.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AvatarEvent:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class EventListeners:
    """The listeners for an avatar's events."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[AvatarEvent], None]] = []

    def add(self, listener: Callable[[AvatarEvent], None]) -> Callable[[], None]:
        """Call `listener` with each event from now on; returns a function that removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def tell(self, event: AvatarEvent) -> None:
        """Pass an event to all listeners; the failure of one is logged and does not affect the others."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):  # cancelled: the future that the listener read, not this task
                logger.exception("a listener to an avatar's events failed")
