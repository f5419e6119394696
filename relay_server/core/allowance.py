"""How much somebody may do: a bucket that fills steadily up to a bound (token bucket, RFC 2697 by another name). Pure."""

from __future__ import annotations


class Allowance:
    """`per_second` on the long run, and up to `burst` at once."""

    def __init__(self, per_second: int, burst: int, now_us: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._filled_us = now_us

    def take(self, count: int, now_us: int) -> bool:
        """Use up `count`; False, nothing used, where so much is not left."""
        filled = self._left + (now_us - self._filled_us) * self._per_second / 1e6
        self._left, self._filled_us = min(filled, float(self._burst)), now_us
        if count > self._left:
            return False
        self._left -= count
        return True
