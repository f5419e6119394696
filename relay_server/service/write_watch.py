"""Finds streams whose peer takes nothing: one timer looks after the writes of all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WRITES_WITHIN_S = 5.0
"""How long a write may take. It is noticed at most half as long later."""
LOOKS = 2
"""In that time."""


class StreamWrites:
    """The writes of one stream, counted by its writer."""

    __slots__ = ("count", "seen", "stuck", "under_way", "unmoved")

    def __init__(self, stuck: Callable[[], None]) -> None:
        self.stuck = stuck
        self.count = 0
        """Writes that ended."""
        self.under_way = False
        """Whether another one is being made."""
        self.seen = 0
        """`count` at the last look."""
        self.unmoved = 0
        """Looks at which the same write was under way as before."""


class WriteWatch:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._streams: set[StreamWrites] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, stuck: Callable[[], None]) -> StreamWrites:
        """Look after a stream; `stuck` is called once, if a write takes too long."""
        writes = StreamWrites(stuck)
        self._streams.add(writes)
        if self._timer is None:
            self._arm()
        return writes

    def end(self, writes: StreamWrites) -> None:
        """Leave a stream alone."""
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
