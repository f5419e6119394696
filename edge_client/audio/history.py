"""The most recent content, by frame index, so that it can be played again."""

from __future__ import annotations

import numpy as np

from edge_client.audio.sink import Pcm


class History:
    """Keeps the last `capacity_frames` frames that were added. Not thread-safe."""

    def __init__(self, capacity_frames: int) -> None:
        self._ring: Pcm = np.zeros(capacity_frames, np.int16)
        self.end = 0
        """Frames added so far: the index of the next one."""

    @property
    def begin(self) -> int:
        """Index of the oldest frame that is kept."""
        return max(0, self.end - len(self._ring))

    def add(self, samples: Pcm) -> None:
        """Append a copy of content; frames beyond the capacity are discarded."""
        self.end += len(samples)
        kept = samples[-len(self._ring) :]
        start = (self.end - len(kept)) % len(self._ring)
        head = min(len(kept), len(self._ring) - start)
        self._ring[start : start + head] = kept[:head]
        self._ring[: len(kept) - head] = kept[head:]

    def read(self, frame: int, frames: int) -> Pcm:
        """At most `frames` frames from index `frame` on, which must be between `begin` and `end`; a copy."""
        frames = min(frames, self.end - frame)
        start = frame % len(self._ring)
        head = min(frames, len(self._ring) - start)
        return np.concatenate([self._ring[start : start + head], self._ring[: frames - head]])
