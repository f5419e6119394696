"""The keyframe rate shown by a service's time codes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from avatar_relay.limits import MAX_KEYFRAMES_PER_SECOND

TIME_CODES = 4
"""How many time codes are examined."""
USUAL_RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 90.0, 120.0)
ROUNDING = 0.015
"""Relative tolerance for time codes that are rounded to milliseconds, or to float32."""
UNEVEN_S = 0.0015
"""How far rounding can change an interval, in s."""
DISAGREEMENT = 0.05


def rate_of(time_codes: Sequence[float]) -> float | None:
    """Keyframes per second, snapped to a usual rate; None if the time codes show no supported rate.

    Irregular intervals, from missing or displaced keyframes, do not count.
    """
    intervals = [after - before for before, after in pairwise(time_codes) if after > before]
    if not intervals:
        return None
    usual_s = median(intervals)
    even = [interval for interval in intervals if abs(interval - usual_s) <= UNEVEN_S]
    rate = len(even) / sum(even)
    usual = min(USUAL_RATES, key=lambda known: abs(known - rate))
    if abs(usual - rate) <= ROUNDING * usual:
        # if two usual rates cannot be told apart because of rounding, the integer one is chosen
        rate = float(round(usual)) if abs(round(usual) - rate) <= ROUNDING * usual and not _is_exact(usual, rate) else usual
    return rate if 1.0 <= rate <= MAX_KEYFRAMES_PER_SECOND else None


def _is_exact(usual: float, rate: float) -> bool:
    return abs(usual - rate) <= 1e-4 * usual


def disagree(declared: float, seen: float) -> bool:
    """Whether two rates differ by more than `DISAGREEMENT`."""
    return abs(declared - seen) > DISAGREEMENT * declared
