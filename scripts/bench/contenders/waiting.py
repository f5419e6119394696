"""The queue of one direction in a contender that joins records."""

from __future__ import annotations

import asyncio
from collections import deque

from scripts.bench.contract import MAX_JOINED_BYTES, QUEUE_PAYLOADS


def join(records: deque[bytes]) -> bytes:
    """Join as many records as fit into a message; at least one."""
    joined = [records.popleft()]
    size = len(joined[0])
    while records and size + len(records[0]) <= MAX_JOINED_BYTES:
        size += len(records[0])
        joined.append(records.popleft())
    return b"".join(joined)


class Queue:
    """Producers wait for `until_room`; consumers wait until it is `filled`."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.filled = asyncio.Event()
        self._room = asyncio.Event()

    async def until_room(self) -> None:
        """Wait while the queue is full."""
        while len(self.waiting) > QUEUE_PAYLOADS:
            self._room.clear()
            await self._room.wait()

    def take(self) -> bytes:
        """Remove as many records as fit into a message; at least one."""
        self._room.set()
        return join(self.waiting)
