"""What an avatar tells, and the ways to hear it: a callback, or an async iterator."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackState
from avatar_relay.publisher.publisher_session import Told

MAX_WAITING_EVENTS = 256
"""Events that wait for a slow reader of `Avatar.events`; beyond that the oldest is dropped."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The avatar's state is another one now."""

    state: PlaybackState


AvatarEvent = Told | StateChanged | ConversationFinished
"""What an avatar tells: player events and faults as they come, the state when it changes, and each conversation's outcome."""


class EventStream:
    """An avatar's events as an async iterator; of those that wait, beyond `MAX_WAITING_EVENTS`, the oldest are dropped.

    For one reader. Ends when it is closed.
    """

    def __init__(self) -> None:
        self.unsubscribe: Callable[[], None] = lambda: None
        self._waiting: deque[AvatarEvent] = deque(maxlen=MAX_WAITING_EVENTS)
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: AvatarEvent) -> None:
        """An event for the reader."""
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        """No more events; those that wait are still read."""
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
    """The listeners to an avatar's events."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[AvatarEvent], None]] = []

    def add(self, listener: Callable[[AvatarEvent], None]) -> Callable[[], None]:
        """Call `listener` with each event from now on; returns what ends that."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def tell(self, event: AvatarEvent) -> None:
        """An event for all; one that fails is logged, and disturbs nobody."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):  # cancelled is what it asked the result of, not the task that tells it
                logger.exception("a listener to an avatar's events failed")
