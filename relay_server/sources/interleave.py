"""Audio and motion in publishing order: the motion of a moment before its sound.

The caller bounds the queue by calling `take` after each push; what remains is sound whose motion is not known yet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay import weights
from relay_server.sources.source import AudioChunk, MotionChunk

AUDIO_CHUNK_S = 0.1
MOTION_WINDOW_S = 0.5
"""Longest motion payload, in s: 15 keyframes of a mouth are under 1 KB, so that joining half a second is harmless."""


class Interleaver:
    """Orders the samples and the rows of weights of one performance. For one task; `push_audio` and `push_motion` may come in any order."""

    def __init__(self, rate_hz: int, keyframes_per_second: float) -> None:
        self._rate_hz = rate_hz
        self._keyframes_per_second = keyframes_per_second
        self._chunk_frames = max(1, round(rate_hz * AUDIO_CHUNK_S))
        self._window_rows = max(1, round(keyframes_per_second * MOTION_WINDOW_S))
        self._samples: NDArray[np.int16] = np.zeros(0, np.int16)
        self._rows: list[NDArray[np.float32]] = []
        self._frames_out = 0
        self._rows_out = 0

    def push_audio(self, samples: NDArray[np.int16]) -> None:
        """Append samples."""
        self._samples = np.concatenate((self._samples, samples))

    def push_motion(self, rows: NDArray[np.float32]) -> None:
        """Append rows of weights."""
        self._rows.extend(rows)

    @property
    def frames_out(self) -> int:
        """Audio frames returned by `take` so far."""
        return self._frames_out

    def take(self, *, ended: bool = False, due_frames: int = 0) -> list[AudioChunk | MotionChunk]:
        """The items that can be published now; all that is left if nothing follows (`ended`).

        Sound that begins before `due_frames` does not wait for its motion. Motion whose sound was returned does not wait.
        """
        items: list[AudioChunk | MotionChunk] = []
        while self._samples.size >= self._chunk_frames or (self._samples.size and (ended or self._frames_out < due_frames)):
            frames = min(self._chunk_frames, self._samples.size)
            while self._rows and not self._is_covered(frames):
                items.append(self._take_motion())
            if not self._is_covered(frames) and not ended and self._frames_out >= due_frames:
                return items
            items.append(self._take_audio(frames))
        while self._rows and (ended or self._is_behind):
            items.append(self._take_motion())
        return items

    def _is_covered(self, frames: int) -> bool:
        """Whether motion has been returned for the next `frames`, up to the keyframe after them."""
        return self._rows_out / self._keyframes_per_second >= (self._frames_out + frames) / self._rate_hz

    @property
    def _is_behind(self) -> bool:
        """Whether motion is late: its sound has been returned."""
        return self._rows_out / self._keyframes_per_second < self._frames_out / self._rate_hz

    def _take_motion(self) -> MotionChunk:
        window, self._rows = self._rows[: self._window_rows], self._rows[self._window_rows :]
        self._rows_out += len(window)
        return MotionChunk(weights.write(np.stack(window)))

    def _take_audio(self, frames: int) -> AudioChunk:
        chunk, self._samples = self._samples[:frames], self._samples[frames:]
        self._frames_out += frames
        return AudioChunk(chunk.astype("<i2").tobytes())
