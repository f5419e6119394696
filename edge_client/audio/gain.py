"""Gain that changes in ramps, so that a change of loudness is never a step in the sound.

Imports only numpy: the speaker process runs it inside its callback. A gain of exactly 1 leaves the samples unchanged; a gain of exactly 0
returns zeros.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RAMP_US = 10_000
"""Length of a full ramp. Interrupt, pause, mute and volume all use it."""


def ramp_frames(rate_hz: int) -> int:
    """Frames of a full ramp, at least 1."""
    return max(1, rate_hz * RAMP_US // 1_000_000)


class GainRamp:
    """A linear gain of 0 to 1 that moves to its target in a straight line. Not thread-safe."""

    def __init__(self, rate_hz: int, gain: float = 1.0) -> None:
        self._frames = ramp_frames(rate_hz)
        self.gain = gain
        """The gain of the last frame."""
        self.target = gain
        """The gain that it moves to."""
        self._left = 0

    @property
    def settled(self) -> bool:
        """Whether the target is reached."""
        return self._left == 0

    def move(self, target: float, frames: int | None = None) -> None:
        """Move to `target` within `frames`, by default a full ramp, counted from the next frame."""
        self.target = target
        self._left = 0 if target == self.gain else (self._frames if frames is None else max(1, frames))

    def jump(self, gain: float) -> None:
        """Set a gain at once; only while there is no sound."""
        self.gain = self.target = gain
        self._left = 0

    def apply(self, pcm: NDArray[np.int16]) -> tuple[NDArray[np.int16], int]:
        """The frames at their gain, and the number of frames up to and including the last one with gain above 0."""
        count = len(pcm)
        if self._left == 0:
            return self._constant(pcm)
        moving = min(self._left, count)
        steps = np.arange(1, moving + 1, dtype=np.float32) / self._left
        gains = self.gain + (self.target - self.gain) * steps
        if moving == self._left:
            gains[-1] = self.target
        self._left -= moving
        self.gain = self.target if self._left == 0 else float(gains[-1]) if moving else self.gain
        head = np.rint(pcm[:moving] * gains).astype(np.int16)
        audible = int(np.flatnonzero(gains)[-1]) + 1 if gains.any() else 0
        if moving == count:
            return head, audible
        tail, tail_audible = self._constant(pcm[moving:])
        return np.concatenate((head, tail)), moving + tail_audible if tail_audible else audible

    def _constant(self, pcm: NDArray[np.int16]) -> tuple[NDArray[np.int16], int]:
        if self.gain == 1.0:
            return pcm, len(pcm)
        if self.gain == 0.0:
            return np.zeros_like(pcm), 0
        return np.rint(pcm * np.float32(self.gain)).astype(np.int16), len(pcm)
