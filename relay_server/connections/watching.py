"""Shows watchers what happens: a bounded queue for each, that counts what a slow one misses."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from relay_server.core.events import ConversationEnded, ConversationOpened, PlayerTold, Shown

MAX_WATCHED = 1_024
"""Notices that may wait for one watcher; beyond that the newest are missed, and counted."""
MAX_WATCHERS = 64


@dataclass(frozen=True, slots=True)
class Watched:
    """A notice, and when it was: wall clock, µs since the Unix epoch. `missed` notices are missing before it."""

    unix_time_us: int
    device_id: str
    notice: Shown | None
    missed: int = 0


class EventWatcher:
    """One who looks on. `device_ids` is empty for all devices."""

    def __init__(self, device_ids: frozenset[str]) -> None:
        self._device_ids = device_ids
        self._queue: deque[Watched] = deque()
        self._missed = 0
        self._ready = asyncio.Event()
        self._ended = False

    def show(self, unix_time_us: int, notice: Shown) -> None:
        """Offer a notice, once for each device that it concerns."""
        for device_id in _devices_of(notice):
            self._show(unix_time_us, device_id, notice)

    def _show(self, unix_time_us: int, device_id: str, notice: Shown) -> None:
        if self._device_ids and device_id not in self._device_ids:
            return
        if len(self._queue) >= MAX_WATCHED:
            self._missed += 1
            return
        if self._missed:
            self._queue.append(Watched(unix_time_us, "", None, self._missed))
            self._missed = 0
        self._queue.append(Watched(unix_time_us, device_id, notice))
        self._ready.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._ready.set()

    async def receive(self) -> Watched | None:
        """The next notice; None when no more will come. Safe to cancel."""
        while not self._queue:
            if self._ended:
                return None
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()


def _devices_of(notice: Shown) -> tuple[str, ...]:
    """The devices that a notice concerns; one empty name if it is no single one's."""
    match notice:
        case ConversationOpened() | ConversationEnded():
            return notice.device_ids
        case PlayerTold():
            return (notice.event.device_id,)
        case _:
            return (notice.device_id,)
