"""The memory shared by parent and child: a ring of samples, words of control and status, and the clock's anchor.

The rules:
1. Each word has one writer: control words the parent, status words the child. A word is 8 bytes, aligned, so it is never seen half written.
2. The ring is indexed by content frame. The parent writes samples, then the word `WRITTEN`; the child reads up to `WRITTEN`, then moves
   `CONSUMED`. At most `capacity_frames` are between the two.
3. To clear, the parent writes `CLEAR_LIMIT`, then the next `GENERATION`. The child discards what is before the limit and answers in
   `GENERATION_DONE`, after `CONSUMED` and `AUDIBLE_END`.
4. The anchor has two slots that are written in turn, each with a counter and a checksum. A reader takes the intact slot with the higher
   counter, so that it neither waits nor sees half an anchor, in whatever order memory writes become visible.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
import threading
import zlib

import numpy as np
from numpy.typing import NDArray

from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.played_timeline import SNAPSHOT_BYTES, Snapshot

MAX_PERIOD_US = 500_000
"""A card that takes more sound than this at once is refused."""
RING_US = 2 * MAX_PERIOD_US + 250_000
"""Size of the ring: two such periods and a margin. It is filled as far as the current card needs."""

GAIN_ONE = 1 << 30
"""The control word `GAIN` is a linear gain in units of 1 / 2^30."""


class SpeakerControl(enum.IntEnum):
    """Words that the parent writes."""

    WRITTEN = 0
    CLEAR_LIMIT = 1
    GENERATION = 2
    PAUSED = 3
    EXPECTED = 4
    GAIN = 5


class SpeakerStatus(enum.IntEnum):
    """Words that the child writes."""

    CONSUMED = 8
    GENERATION_DONE = 9
    AUDIBLE_END = 10
    STARVED = 11
    DEVICE_DRY = 12
    SILENCE_FRAMES = 13
    CALLBACKS = 14


_WORDS = 16
_SLOT = struct.Struct(f"<q{SNAPSHOT_BYTES}sI4x")
_SLOTS_AT = _WORDS * 8
_RING_AT = _SLOTS_AT + 2 * _SLOT.size
_READ_ATTEMPTS = 4


def ring_frames(rate_hz: int) -> int:
    """Capacity of the ring in frames."""
    return rate_hz * RING_US // 1_000_000


class SpeakerMemory:
    """A view of the shared memory; both sides open one. Methods that write are for the side that owns the word."""

    def __init__(self, descriptor: int, rate_hz: int) -> None:
        """Map the memory of a descriptor, which the caller still closes."""
        self.capacity_frames = ring_frames(rate_hz)
        self._map = mmap.mmap(descriptor, size_bytes(rate_hz))
        self._words = memoryview(self._map)[: _WORDS * 8].cast("q")
        self._ring: NDArray[np.int16] = np.frombuffer(self._map, np.int16, self.capacity_frames, _RING_AT)
        self._anchor_counter = 0
        self._order = threading.Lock()

    def __getitem__(self, word: SpeakerControl | SpeakerStatus) -> int:
        return self._words[word]

    def __setitem__(self, word: SpeakerControl | SpeakerStatus, value: int) -> None:
        self._fence()
        self._words[word] = value

    def begin(self, frame: int, *, gain: int, paused: bool) -> None:
        """Set where content begins, before the child is started; the only time that the parent writes status words."""
        for word in (SpeakerControl.WRITTEN, SpeakerStatus.CONSUMED, SpeakerStatus.AUDIBLE_END):
            self[word] = frame
        self[SpeakerControl.GAIN] = gain
        self[SpeakerControl.PAUSED] = int(paused)

    def write(self, samples: Pcm) -> None:
        """Append content, at most `free_frames`."""
        written = self[SpeakerControl.WRITTEN]
        start = written % self.capacity_frames
        head = min(len(samples), self.capacity_frames - start)
        self._ring[start : start + head] = samples[:head]
        self._ring[: len(samples) - head] = samples[head:]
        self[SpeakerControl.WRITTEN] = written + len(samples)

    @property
    def free_frames(self) -> int:
        """Frames that may be written now."""
        return self.capacity_frames - self.depth_frames

    @property
    def depth_frames(self) -> int:
        """Frames that are written and not consumed."""
        return self[SpeakerControl.WRITTEN] - self[SpeakerStatus.CONSUMED]

    def read(self, frame: int, frames: int) -> Pcm:
        """A copy of content frames `frame` to `frame + frames`. They stay in the ring until `CONSUMED` passes them."""
        start = frame % self.capacity_frames
        head = min(frames, self.capacity_frames - start)
        return np.concatenate([self._ring[start : start + head], self._ring[: frames - head]])

    def publish(self, snapshot: Snapshot) -> None:
        """Write the anchor, into the slot that is not the newest."""
        self._anchor_counter += 1
        packed = snapshot.pack()
        offset = _SLOTS_AT + (self._anchor_counter & 1) * _SLOT.size
        _SLOT.pack_into(self._map, offset, self._anchor_counter, packed, _checksum(self._anchor_counter, packed))

    def snapshot(self) -> Snapshot | None:
        """The newest anchor; None before the first one."""
        for _ in range(_READ_ATTEMPTS):
            slots = [_SLOT.unpack_from(self._map, _SLOTS_AT + index * _SLOT.size) for index in (0, 1)]
            intact = [(counter, packed) for counter, packed, checksum in slots if counter and _checksum(counter, packed) == checksum]
            if intact:
                return Snapshot.unpack(max(intact)[1])
            if not any(counter for counter, _, _ in slots):
                return None
        return None

    def close(self) -> None:
        """Unmap the memory. No other method may run at the same time or later."""
        self._words.release()
        del self._ring
        self._map.close()

    def _fence(self) -> None:
        """Order earlier writes before later ones.

        Acquiring and releasing a lock is a barrier, which processors with weakly ordered memory (ARM) need between samples and their index.
        """
        with self._order:
            pass


def size_bytes(rate_hz: int) -> int:
    """Size of the whole memory."""
    return _RING_AT + 2 * ring_frames(rate_hz)


def create_memory(rate_hz: int) -> int:
    """Create anonymous memory of the right size, zeroed; returns its descriptor."""
    descriptor = os.memfd_create("avatar-relay-speaker", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size_bytes(rate_hz))
    return descriptor


def _checksum(counter: int, packed: bytes) -> int:
    return zlib.crc32(packed, counter & 0xFFFFFFFF)
