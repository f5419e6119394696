"""Places keyframes with time codes on the even grid of motion payloads.

Rules:

1. Row n is shown n / rate seconds after the clip's first sample; a keyframe becomes the row nearest to its time code.
2. Time codes increase. A keyframe whose row is taken is skipped, and counted.
3. Missing rows, also before the first keyframe, are interpolated linearly, and counted, up to `MAX_GAP_S`.
4. Invalid motion (a time or weight that is not finite, decreasing time, a longer gap, a row of another width, motion that continues beyond
   the sound) ends the motion: `KeyframeError`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
"""Weights, shape (rows, names)."""

MAX_GAP_S = 1.0
MAX_BEYOND_S = 1.0
"""How far motion may continue after the sound, in s; a device cuts it there."""


class KeyframeError(ValueError):
    """Invalid motion; the text names the problem and its position."""


class KeyframeLine:
    """The rows of one clip, in order."""

    def __init__(self, rate: float, names: int) -> None:
        """`rate`: keyframes per second; `names`: the width of a row."""
        self._rate = rate
        self._names = names
        self._last: NDArray[np.float32] | None = None
        self._last_time_s = -math.inf
        self.rows = 0
        """Rows returned so far."""
        self.filled = 0
        self.passed_over = 0

    def push(self, time_s: float, weights: NDArray[np.float32], sound_s: float) -> Rows:
        """The rows that this keyframe completes: none, itself, or interpolated rows and itself. Raises `KeyframeError`.

        `sound_s` is the length of the sound that the service has received so far.
        """
        self._check(time_s, weights, sound_s)
        self._last_time_s = time_s
        index = math.floor(time_s * self._rate + 0.5)
        missing = index - self.rows
        if missing < 0:
            self.passed_over += 1
            return np.zeros((0, self._names), np.float32)
        start = self._last if self._last is not None else weights
        steps = np.arange(1, missing + 2, dtype=np.float32)[:, None] / np.float32(missing + 1)
        rows = np.asarray(start + (weights - start) * steps, np.float32)
        rows[-1] = weights  # bit for bit
        self._last = weights
        self.rows += missing + 1
        self.filled += missing
        return rows

    def hold(self, rows: int) -> Rows:
        """Repeat the last row until there are `rows` rows; empty if there was none."""
        missing = max(0, rows - self.rows) if self._last is not None else 0
        self.rows += missing
        self.filled += missing
        return np.repeat(self._last[None], missing, axis=0) if self._last is not None else np.zeros((0, self._names), np.float32)

    def _check(self, time_s: float, weights: NDArray[np.float32], sound_s: float) -> None:
        if not math.isfinite(time_s) or time_s < 0:
            raise KeyframeError(f"after {self.rows} keyframes one has the time code {time_s}")
        if time_s <= self._last_time_s:
            raise KeyframeError(f"time goes back from {self._last_time_s:.3f} s to {time_s:.3f} s")
        if weights.shape != (self._names,):
            raise KeyframeError(f"the keyframe at {time_s:.3f} s has {weights.size} weights for {self._names} names")
        if not np.isfinite(weights).all():
            raise KeyframeError(f"the weight {int(np.argmin(np.isfinite(weights)))} at {time_s:.3f} s is not finite")
        if time_s > sound_s + MAX_BEYOND_S:
            raise KeyframeError(f"a keyframe at {time_s:.3f} s, for sound of {sound_s:.3f} s")
        if time_s - self.rows / self._rate > MAX_GAP_S:
            raise KeyframeError(f"no keyframes from {self.rows / self._rate:.3f} s to {time_s:.3f} s")
