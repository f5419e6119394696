"""The items of one conversation that its reader has not taken yet. Bounded: sound waits for room, motion is refused.

Motion has priority, because it belongs to sound that was passed on earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque

from relay_server.sources.source import AudioChunk, AudioEnded, Irregularity, Item, MotionChunk, MotionLost

MAX_AUDIO_BYTES = 64 << 10
MAX_MOTION_BYTES = 4 << 20
"""Over five minutes of motion."""


class PerformanceBuffer:
    """One writer of sound, one writer of motion, one reader. Not thread-safe."""

    def __init__(self) -> None:
        self._motion: deque[MotionChunk | MotionLost] = deque()
        self._audio: deque[AudioChunk | Irregularity | AudioEnded] = deque()
        self._motion_bytes = self._audio_bytes = 0
        self._moved = asyncio.Event()
        self._error: Exception | None = None
        self._ended = False

    async def put_audio(self, item: AudioChunk | Irregularity) -> None:
        """Add sound, or an irregularity of it; waits for room. Safe to cancel."""
        while self._audio_bytes and self._audio_bytes + _size(item) > MAX_AUDIO_BYTES:
            await self._wait()
        self._audio.append(item)
        self._audio_bytes += _size(item)
        self._moved.set()

    def end_audio(self) -> None:
        """Mark the end of the sound."""
        self._audio.append(AudioEnded())
        self._moved.set()

    def put_motion(self, data: bytes) -> bool:
        """Add motion; returns False if there is no room."""
        if self._motion_bytes + len(data) > MAX_MOTION_BYTES:
            return False
        self._motion.append(MotionChunk(data))
        self._motion_bytes += len(data)
        self._moved.set()
        return True

    def lose_motion(self, lost: MotionLost) -> None:
        """Mark the loss of further motion; queued motion is still read."""
        self._motion.append(lost)
        self._moved.set()

    def end(self, error: Exception | None = None) -> None:
        """Mark the end of all items; after them the reader gets `error`."""
        self._ended, self._error = True, error
        self._moved.set()

    async def get(self) -> Item:
        """The next item. Raises `StopAsyncIteration` at the end, or the error passed to `end`. Safe to cancel."""
        while True:
            if self._motion:
                item = self._motion.popleft()
                self._motion_bytes -= len(item.data) if isinstance(item, MotionChunk) else 0
                return item
            if self._audio:
                heard = self._audio.popleft()
                self._audio_bytes -= _size(heard)
                self._moved.set()
                return heard
            if self._ended:
                raise self._error or StopAsyncIteration
            await self._wait()

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()


def _size(item: AudioChunk | Irregularity | AudioEnded) -> int:
    match item:
        case AudioChunk(data):
            return len(data)
        case Irregularity(fault):
            return len(fault.text)
        case AudioEnded():
            return 0
