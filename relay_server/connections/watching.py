"""Event watchers: a bounded queue for each, which counts the notices that a slow watcher misses."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from relay_server.core.events import ConversationEnded, ConversationFaulted, ConversationOpened, PlayerTold, Shown

MAX_WATCHED = 1_024
"""Limit on notices queued for one watcher; beyond it new ones are dropped and counted."""
MAX_WATCHED_BYTES = 512 << 10
"""Limit on their approximate size in memory."""
MAX_WATCHERS, MAX_WATCHERS_PER_IDENTITY = 64, 8


@dataclass(frozen=True, slots=True)
class Watched:
    """A notice with its time: wall clock, µs since the Unix epoch. If `notice` is None, `missed` notices were dropped here."""

    unix_time_us: int
    device_id: str
    notice: Shown | None
    missed: int = 0


class EventWatcher:
    """One watcher of device events. Empty `device_ids` means all devices."""

    def __init__(self, device_ids: frozenset[str]) -> None:
        self._device_ids = device_ids
        self._queue: deque[Watched] = deque()
        self._missed = 0
        self._bytes = 0
        self._ready = asyncio.Event()
        self._ended = False

    def show(self, unix_time_us: int, notice: Shown) -> None:
        """Queue a notice, once for each device that it concerns."""
        for device_id in _devices_of(notice):
            self._show(unix_time_us, device_id, notice)

    def _show(self, unix_time_us: int, device_id: str, notice: Shown) -> None:
        if self._device_ids and device_id not in self._device_ids:
            return
        size = _size_of(notice)
        if len(self._queue) >= MAX_WATCHED or self._bytes + size > MAX_WATCHED_BYTES:
            self._missed += 1
            return
        self._bytes += size
        if self._missed:
            self._queue.append(Watched(unix_time_us, "", None, self._missed))
            self._missed = 0
        self._queue.append(Watched(unix_time_us, device_id, notice))
        self._ready.set()

    def end(self) -> None:
        """End the watch after the queued notices."""
        self._ended = True
        self._ready.set()

    async def receive(self) -> Watched | None:
        """The next notice; None if no more follow. Safe to cancel."""
        while not self._queue:
            if self._ended:
                return None
            self._ready.clear()
            await self._ready.wait()
        watched = self._queue.popleft()
        self._bytes -= 0 if watched.notice is None else _size_of(watched.notice)
        return watched


def _size_of(notice: Shown) -> int:
    """The approximate size of a notice in memory."""
    match notice:
        case ConversationOpened(open=open_) if open_.motion_format is not None:
            return 512 + 128 * len(open_.motion_format.blendshape_names)
        case ConversationFaulted(fault=fault):
            return 512 + 4 * len(fault.text)
        case _:
            return 512


def _devices_of(notice: Shown) -> tuple[str, ...]:
    """The devices that a notice concerns; one empty id if it concerns no single device."""
    match notice:
        case ConversationOpened() | ConversationEnded():
            return notice.device_ids
        case PlayerTold():
            return (notice.event.device_id,)
        case _:
            return (notice.device_id,)
