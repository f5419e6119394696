"""Detects streams whose peer reads nothing: one timer checks the writes of all streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WRITES_WITHIN_S = 5.0
"""How long a write may take. A longer one is detected at most half of this time later."""
LOOKS = 2
"""Checks within `WRITES_WITHIN_S`."""


class StreamWrites:
    """Write progress of one stream, updated by its writer."""

    __slots__ = ("count", "seen", "stuck", "under_way", "unmoved")

    def __init__(self, stuck: Callable[[], None]) -> None:
        self.stuck = stuck
        self.count = 0
        """Completed writes."""
        self.under_way = False
        """Whether a write is pending."""
        self.seen = 0
        """`count` at the last check."""
        self.unmoved = 0
        """Consecutive checks that found the same write pending."""


class WriteWatch:
    """Checks the writes of all streams. Belongs to one event loop."""

    def __init__(self) -> None:
        self._streams: set[StreamWrites] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, stuck: Callable[[], None]) -> StreamWrites:
        """Start to check a stream; `stuck` is called once if a write takes too long."""
        writes = StreamWrites(stuck)
        self._streams.add(writes)
        if self._timer is None:
            self._arm()
        return writes

    def end(self, writes: StreamWrites) -> None:
        """Stop checking a stream."""
        self._streams.discard(writes)
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WRITES_WITHIN_S / LOOKS, self._look)

    def _look(self) -> None:
        self._arm()
        for writes in tuple(self._streams):
            writes.unmoved = writes.unmoved + 1 if writes.under_way and writes.count == writes.seen else 0
            writes.seen = writes.count
            if writes.unmoved == LOOKS:
                self.end(writes)
                writes.stuck()
