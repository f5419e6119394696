"""How late payloads of a `LIVE` conversation come, and how much of that playout has to bear.

A payload's offset is its time of arrival less its PTS. The smallest offset of the last `WINDOW_US` is the line of the
fastest way; lateness is what an offset is above it. The largest lateness of the window is kept, for a percentile is too
small: what it leaves out is heard as gaps. It decays by forgetting what is older than the window.
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
        """A payload came. Calls in the order of `arrival_us`."""
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
