"""The time of day, if it is reliable: many boards have no real-time clock, and start with a date in the past."""

from __future__ import annotations

import ctypes
import time

_TIMEX_BYTES = 512
"""Larger than any `struct timex`; all zero, it queries and changes nothing."""
_TIME_ERROR = 5


def clock_is_synchronised() -> bool | None:
    """Whether NTP or a similar service has set the clock since boot; None if the kernel does not report it."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def minute_of_day() -> int | None:
    """Minutes since midnight by the local clock; None while it may be wrong."""
    if not clock_is_synchronised():
        return None
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min
