"""When the relay collects garbage: reference cycles, which grpc.aio leaves behind with each RPC.

A full collection stops all streams while it looks at the media kept for devices: for some 50 ms with 140 live sessions. It finds little but
what ended streams leave, so it follows a number of those, and otherwise hardly ever runs.
"""

from __future__ import annotations

import asyncio
import gc

FULL_COLLECTIONS = 300
"""Collections of the middle generation before a full one; Python's default is 10."""
STREAMS_PER_COLLECTION = 256
"""Ended streams before a full collection: each leaves 54 objects, and the metadata of its call."""
OTHERS_PER_STREAM = 16
"""Ended RPCs of other kinds, and connections of strangers, that count as one stream. Most of what they leave is still young when a smaller
collection finds it."""
COLLECT_AFTER_S = 0.01
"""Time from a call with too much metadata until its garbage is collected: others may arrive within it."""
MAX_UNCOLLECTED_BYTES = 4 << 20
"""Metadata beyond the limit that may wait for a collection."""


def start_collections() -> None:
    """Make collections of this process skip all objects that exist now, and full ones rare."""
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)


class Garbage:
    """Collects what RPCs leave behind. Belongs to one event loop."""

    def __init__(self) -> None:
        self._collecting: asyncio.TimerHandle | None = None
        self._uncollected_bytes = 0
        self._ended = 0

    def stream_ended(self) -> None:
        """Count a stream that has ended; collects everything after `STREAMS_PER_COLLECTION`."""
        self._count(OTHERS_PER_STREAM)

    def other_ended(self) -> None:
        """Count another RPC, or a connection of a stranger; see `OTHERS_PER_STREAM`."""
        self._count(1)

    def _count(self, ended: int) -> None:
        self._ended += ended
        if self._ended >= STREAMS_PER_COLLECTION * OTHERS_PER_STREAM:
            self._ended = 0
            gc.collect()

    def refused(self, metadata_bytes: int) -> None:
        """Collect young garbage soon, or at once if there is much: a refused call has left this much metadata."""
        self._uncollected_bytes += metadata_bytes
        if self._collecting is None:
            self._collecting = asyncio.get_running_loop().call_later(COLLECT_AFTER_S, self._collect_late)
        if self._uncollected_bytes > MAX_UNCOLLECTED_BYTES:
            self._uncollected_bytes = 0
            gc.collect(1)

    def _collect_late(self) -> None:
        self._collecting, self._uncollected_bytes = None, 0
        gc.collect(1)
