"""Rate limiter: a token bucket, similar to RFC 2697. Pure."""

from __future__ import annotations


class Allowance:
    """A token bucket: `per_second` on average, and up to `burst` at once."""

    def __init__(self, per_second: int, burst: int, now_us: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._left = float(burst)
        self._filled_us = now_us

    def take(self, count: int, now_us: int) -> bool:
        """Use `count` tokens; False, with none used, if fewer are left."""
        filled = self._left + (now_us - self._filled_us) * self._per_second / 1e6
        left = self._left = filled if filled < self._burst else self._burst
        self._filled_us = now_us
        if count > left:
            return False
        self._left = left - count
        return True
