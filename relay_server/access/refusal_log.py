"""Log lines about strangers, rate-limited so that they cannot fill a disk."""

from __future__ import annotations

import logging
from collections.abc import Callable

from relay_server.access.rate_limits import RateLimits

LINES_PER_MINUTE = 5
"""Per network; twice as many in the first minute. A device with a wrong token retries for days."""
LINES_PER_MINUTE_IN_ALL = 60
MAX_NETWORKS = 1_024

_ALL = object()


class RefusalLog:
    """Writes rate-limited warnings about networks. Belongs to one event loop."""

    def __init__(self, logger: logging.Logger, now_us: Callable[[], int]) -> None:
        self._logger = logger
        self._now_us = now_us
        self._limits = RateLimits(MAX_NETWORKS + 1)
        self._left_out = 0

    def write(self, network: str, text: str, *arguments: object) -> None:
        """Write a warning about a network, or count it as omitted for the next one that is written."""
        now_us = self._now_us()
        if self._limits.take(network, LINES_PER_MINUTE, now_us) or self._limits.take(_ALL, LINES_PER_MINUTE_IN_ALL, now_us):
            self._left_out += 1
            return
        more = f" ({self._left_out} such lines were left out)" if self._left_out else ""
        self._left_out = 0
        self._logger.warning("%s%s", text % arguments, more)
