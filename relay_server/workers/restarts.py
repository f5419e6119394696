"""When to restart a process that ended. Pure.

At once if it ran for a while. After repeated early ends the delay increases.
"""

from __future__ import annotations

STABLE_US = 10_000_000
FIRST_WAIT_US = 250_000
LARGEST_WAIT_US = 10_000_000


class RestartPolicy:
    """The restarts of one process."""

    def __init__(self) -> None:
        self._failures = 0

    def wait_us(self, lived_us: int) -> int:
        """The delay before the next start of a process that ran for `lived_us`."""
        if lived_us >= STABLE_US:
            self._failures = 0
            return 0
        wait_us = min(FIRST_WAIT_US << min(self._failures, 10), LARGEST_WAIT_US)
        self._failures += 1
        return wait_us
