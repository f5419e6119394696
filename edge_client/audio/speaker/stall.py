"""Finds out from the number of callbacks that a sound device no longer asks for samples."""

from __future__ import annotations

STALL_SECONDS = 3.0
"""PulseAudio may take 2.5 s before it asks for the first samples, or after an underrun."""
_MAX_STEP_SECONDS = 1.0
"""Longest time that one check may add: a process that was stopped as a whole is not taken for a device that hangs."""


class StallWatch:
    """Watches one stream. Times are in seconds on a monotonic clock."""

    def __init__(self, now_s: float) -> None:
        self._callbacks = 0
        self._checked_s = now_s
        self._still_s = 0.0

    def is_stalled(self, callbacks: int, now_s: float) -> bool:
        """Whether the count of callbacks has stood for `STALL_SECONDS`. Call it several times a second."""
        if callbacks != self._callbacks:
            self._callbacks = callbacks
            self._still_s = 0.0
        else:
            self._still_s += min(now_s - self._checked_s, _MAX_STEP_SECONDS)
        self._checked_s = now_s
        return self._still_s > STALL_SECONDS
