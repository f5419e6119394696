"""Rate limits: a token bucket for each key. Pure.

At most `max_keys` are remembered; the least recently used is dropped first. A caller with that many addresses or names is not limited, but
costs no more memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_US_PER_MINUTE = 60_000_000


class RateLimits:
    """Token buckets by key: up to `per_minute` at once, refilled at `per_minute` per minute."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._levels: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        """The level of each bucket, and the time of that level, in µs."""

    def wait_ms(self, key: Hashable, per_minute: int, now_us: int) -> int:
        """Time until something can be taken, in ms; 0 if it can be taken now."""
        left = self._left(key, per_minute, now_us)
        return 0 if left >= 1 else int((1 - left) * _US_PER_MINUTE / per_minute / 1_000) + 1

    def take(self, key: Hashable, per_minute: int, now_us: int) -> int:
        """Take one, and return 0; if the bucket is empty, return how long to wait, in ms."""
        wait_ms = self.wait_ms(key, per_minute, now_us)
        if wait_ms == 0:
            self._levels[key] = (self._left(key, per_minute, now_us) - 1, now_us)
            self._levels.move_to_end(key)
            if len(self._levels) > self._max_keys:
                self._levels.popitem(last=False)
        return wait_ms

    def _left(self, key: Hashable, per_minute: int, now_us: int) -> float:
        level, then_us = self._levels.get(key, (float(per_minute), now_us))
        return min(level + (now_us - then_us) * per_minute / _US_PER_MINUTE, float(per_minute))
