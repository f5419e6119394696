"""When a process that ended is started again. Pure.

At once if it ran for a while; one that ends soon after its start, again and again, waits for longer each time.
"""

from __future__ import annotations

STABLE_US = 10_000_000
FIRST_WAIT_US = 250_000
LARGEST_WAIT_US = 10_000_000


class RestartPolicy:
    """Of one process."""

    def __init__(self) -> None:
        self._failures = 0

    def wait_us(self, lived_us: int) -> int:
        """How long to wait before the next start of a process that lived so long."""
        if lived_us >= STABLE_US:
            self._failures = 0
            return 0
        wait_us = min(FIRST_WAIT_US << min(self._failures, 10), LARGEST_WAIT_US)
        self._failures += 1
        return wait_us
