"""Keyframes with time codes, put on the even grid on which motion travels.

Rules:
1. Row n is shown n / rate seconds after the clip's first sample; a keyframe is the row nearest to its time code.
2. Time codes go forward. A keyframe whose row is taken is passed over, and counted.
3. Rows that the service left out, also before its first keyframe, are filled on a straight line, and counted, up to
   `MAX_GAP_S`.
4. What cannot be used (a time or weight that is not finite, time that goes back, a longer gap, a row of another width,
   motion that goes on beyond the sound) ends the motion: `KeyframeError`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
"""Shape (rows, names)."""

MAX_GAP_S = 1.0
MAX_BEYOND_S = 1.0
"""How far motion may go on after the sound; a device cuts it there."""


class KeyframeError(ValueError):
    """Motion that cannot be used; the text says what was wrong, and where."""


class KeyframeLine:
    """The rows of one clip, in their order."""

    def __init__(self, rate: float, names: int) -> None:
        """`rate` is in keyframes per second, `names` the width of a row."""
        self._rate = rate
        self._names = names
        self._last: NDArray[np.float32] | None = None
        self._last_time_s = -math.inf
        self.rows = 0
        """Given so far."""
        self.filled = 0
        self.passed_over = 0

    def push(self, time_s: float, weights: NDArray[np.float32], sound_s: float) -> Rows:
        """The rows that this keyframe completes: none, itself, or filled ones before it. Raises `KeyframeError`.

        `sound_s` is the length of the sound that the service was given so far.
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
        """The last row again, until there are `rows`; nothing if there was none."""
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
