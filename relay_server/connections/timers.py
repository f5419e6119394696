"""Timers that fire together: each wake-up of an idle process costs more than most of what is done then."""

from __future__ import annotations

import asyncio


def until_next(interval_s: float) -> float:
    """Seconds, more than 0, until the next multiple of `interval_s` on the running loop's clock: timers that use it fire together."""
    return interval_s - asyncio.get_running_loop().time() % interval_s
