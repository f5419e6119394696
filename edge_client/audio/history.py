"""The most recent content, by frame index, so that it can be played again."""

from __future__ import annotations

from collections import deque

import numpy as np

from edge_client.audio.sink import Pcm


class History:
    """Keeps at least the last `capacity_frames` frames that were added. Not thread-safe."""

    def __init__(self, capacity_frames: int) -> None:
        self._capacity_frames = capacity_frames
        self._blocks: deque[Pcm] = deque()
        self.begin = 0
        """Index of the oldest frame that is kept."""
        self.end = 0
        """Frames added so far: the index of the next one."""

    def add(self, samples: Pcm) -> None:
        """Append a copy of content; blocks older than the capacity are discarded."""
        if not len(samples):
            return
        self._blocks.append(np.array(samples, np.int16))
        self.end += len(samples)
        while self.end - self.begin - len(self._blocks[0]) >= self._capacity_frames:
            self.begin += len(self._blocks.popleft())

    def read(self, frame: int, frames: int) -> Pcm:
        """At most `frames` frames from index `frame` on, which must be between `begin` and `end`."""
        pieces: list[Pcm] = [np.zeros(0, np.int16)]
        start = self.begin
        for block in self._blocks:
            first, last = max(frame, start) - start, min(frame + frames, start + len(block)) - start
            if first < last:
                pieces.append(block[first:last])
            start += len(block)
        return np.concatenate(pieces)
