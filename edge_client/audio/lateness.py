"""How late payloads of a `LIVE` conversation arrive, and how much of that playout must absorb.

A payload's offset is its time of arrival minus its PTS. The smallest offset of the last `WINDOW_US` is the baseline, that of the fastest
path; lateness is the excess of an offset over it. The largest lateness of the window is used, because the payloads above a percentile would
be heard as gaps. It decays as values older than the window are discarded.
"""

from __future__ import annotations

from collections import deque

WINDOW_US = 60_000_000
_BUCKET_US = 1_000_000


class Lateness:
    """Extremes of the last minute, in buckets of a second. Not thread-safe."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[int, int, int]] = deque()
        self.base_us: int | None = None
        """The smallest offset; None before the first payload."""
        self.largest_us = 0
        """The largest lateness."""

    def note(self, arrival_us: int, pts_us: int) -> None:
        """Note the arrival of a payload. Call in the order of `arrival_us`."""
        offset, begin = arrival_us - pts_us, arrival_us - arrival_us % _BUCKET_US
        if self._buckets and self._buckets[-1][0] == begin:
            _, low, high = self._buckets[-1]
            self._buckets[-1] = (begin, min(low, offset), max(high, offset))
        else:
            self._buckets.append((begin, offset, offset))
        while self._buckets[0][0] <= arrival_us - WINDOW_US - _BUCKET_US:
            self._buckets.popleft()
        self.base_us = min(low for _, low, _ in self._buckets)
        self.largest_us = max(high for _, _, high in self._buckets) - self.base_us
