"""Rate limiter: a token bucket, similar to RFC 2697. Pure."""

from __future__ import annotations


class Allowance:
    """A token bucket: `per_second` on average, and up to `burst` at once."""

    def __init__(self, per_second: int, burst: int, now_us: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._filled_us = now_us

    def take(self, count: int, now_us: int) -> bool:
        """Use `count` tokens; False, with none used, if fewer are left."""
        filled = self._left + (now_us - self._filled_us) * self._per_second / 1e6
        self._left, self._filled_us = min(filled, float(self._burst)), now_us
        if count > self._left:
            return False
        self._left -= count
        return True
