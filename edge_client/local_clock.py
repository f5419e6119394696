"""The time of day, if it can be believed: many boards have no clock of their own, and begin in the past."""

from __future__ import annotations

import ctypes
import time

_TIMEX_BYTES = 512
"""More than any `struct timex` has; all zero, it asks and changes nothing."""
_TIME_ERROR = 5


def minute_of_day() -> int | None:
    """Minutes since midnight by the local clock; None until it was synchronised, by NTP or the like."""
    if ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) not in range(_TIME_ERROR):
        return None
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min
