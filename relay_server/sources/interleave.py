"""Audio and motion in the order in which they should be published: the motion of a moment before its sound.

The queue is bounded by its user, which takes after each push; what stays inside is sound whose motion is not known yet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay import weights
from relay_server.sources.source import AudioChunk, MotionChunk

AUDIO_CHUNK_S = 0.1
MOTION_WINDOW_S = 0.5
"""Longest motion payload: 15 keyframes of a mouth are under 1 KB, so half a second loses nothing by joining."""


class Interleaver:
    """Puts samples and rows of weights of one performance in order. One task; call order does not matter."""

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
        """The next samples."""
        self._samples = np.concatenate((self._samples, samples))

    def push_motion(self, rows: NDArray[np.float32]) -> None:
        """The next rows of weights."""
        self._rows.extend(rows)

    @property
    def frames_out(self) -> int:
        """Sound that was taken."""
        return self._frames_out

    def take(self, *, ended: bool = False, due_frames: int = 0) -> list[AudioChunk | MotionChunk]:
        """What can be published now; everything that is left when nothing follows (`ended`).

        Sound that begins before `due_frames` does not wait for its motion; motion whose sound is out waits for nothing.
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
        """Whether the motion of the next `frames` is out, up to the keyframe after them."""
        return self._rows_out / self._keyframes_per_second >= (self._frames_out + frames) / self._rate_hz

    @property
    def _is_behind(self) -> bool:
        """Whether motion is late: its sound is out."""
        return self._rows_out / self._keyframes_per_second < self._frames_out / self._rate_hz

    def _take_motion(self) -> MotionChunk:
        window, self._rows = self._rows[: self._window_rows], self._rows[self._window_rows :]
        self._rows_out += len(window)
        return MotionChunk(weights.write(np.stack(window)))

    def _take_audio(self, frames: int) -> AudioChunk:
        chunk, self._samples = self._samples[:frames], self._samples[frames:]
        self._frames_out += frames
        return AudioChunk(chunk.astype("<i2").tobytes())
