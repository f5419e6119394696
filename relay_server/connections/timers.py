"""Timers that fire together: each wake-up of an idle process costs more than most of what is done then."""

from __future__ import annotations

import asyncio
import math

_NEAR = 1e-3
"""A multiple that is nearer than this part of the interval counts as passed."""


def until_next(interval_s: float) -> float:
    """Seconds until the next multiple of `interval_s` on the running loop's clock, so that timers fire together.

    At least a thousandth of the interval: a loop that waits again and again must not find the multiple that it has just waited for.
    """
    now_s = asyncio.get_running_loop().time()
    return (math.floor(now_s / interval_s + _NEAR) + 1) * interval_s - now_s
