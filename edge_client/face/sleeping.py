"""Decides when the screen sleeps. Pure.

The rules:
1. It is awake while there is a conversation: the first one wakes it.
2. It sleeps after the configured time without a conversation.
3. Within the configured hours, it sleeps after `NIGHT_US` without one. The hours apply only while the clock is known to be right.
"""

from __future__ import annotations

NIGHT_US = 60_000_000
MINUTES = 24 * 60


class ScreenSleep:
    """Not thread-safe. Times are readings of the monotonic clock in µs, and may repeat."""

    def __init__(self, after_us: int, hours: tuple[int, int] | None) -> None:
        """`after_us` 0: no sleep by time. `hours`: from one minute of the day up to another one."""
        self._after_us = after_us
        self._hours = hours
        self._since_us: int | None = None

    def sleeps(self, *, is_busy: bool, now_us: int, minute: int | None) -> bool:
        """Whether the screen sleeps now. `is_busy`: there is a conversation. `minute`: of the local day; None if the clock may be wrong."""
        if is_busy or self._since_us is None:
            self._since_us = now_us
        quiet_us = now_us - self._since_us
        if self._after_us and quiet_us >= self._after_us:
            return True
        return quiet_us >= NIGHT_US and self._is_night(minute)

    def _is_night(self, minute: int | None) -> bool:
        if minute is None or self._hours is None:
            return False
        begin, end = self._hours
        return (minute - begin) % MINUTES < (end - begin) % MINUTES
