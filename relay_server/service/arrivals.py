"""Limits how many requests are read at once. Belongs to one event loop; not thread-safe."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from avatar_relay.errors import PeerError
from avatar_relay.reasons import Fault, Reason

ARRIVING_AT_ONCE = 4
"""gRPC buffers up to `GRPC_MAX_RECEIVE_BYTES` (8 MiB) of each request that is being read and is incomplete. A normal request is
in one packet with its headers and is read within a millisecond, so four at a time serve thousands a second."""
ARRIVING_PER_CALLER = 2
"""Limit for one caller, so that others have room."""
WAITING_PER_CALLER = 256
"""Limit on unread requests of one caller; each occupies a transport window (64 KiB)."""
RETRY_MS = 1_000


class Arrivals:
    """Places for requests being read. Waiting callers take turns; of one caller's requests the newest is first.

    So a complete request does not wait behind many incomplete ones from the same address.
    """

    def __init__(self, at_once: int = ARRIVING_AT_ONCE, per_caller: int = ARRIVING_PER_CALLER, waiting: int = WAITING_PER_CALLER) -> None:
        self._at_once = at_once
        self._per_caller = per_caller
        self._max_waiting = waiting
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """Wait for a place and hold it during the block. Raises `PeerError` if too many requests of this caller wait. Cancellable."""
        if self._is_free(caller):
            self._held[caller] += 1
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._release(caller)

    def wanted_from(self, caller: str) -> bool:
        """Whether another request waits for a place that `caller` holds."""
        return caller in self._waiting or (self._held.total() >= self._at_once and bool(self._waiting))

    def _is_free(self, caller: str) -> bool:
        return self._held.total() < self._at_once and self._held[caller] < self._per_caller

    async def _wait(self, caller: str) -> None:
        if len(self._waiting.get(caller, ())) >= self._max_waiting:
            text = f"{self._max_waiting} unread requests of this caller wait already; send fewer at once"
            raise PeerError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=RETRY_MS))
        queue = self._waiting.setdefault(caller, [])
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._release(caller)  # the place was granted at the same moment
            elif turn in queue:
                queue.remove(turn)
                if not queue:
                    del self._waiting[caller]
            raise

    def _release(self, caller: str) -> None:
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        while (following := next((name for name in self._waiting if self._is_free(name)), None)) is not None:
            queue = self._waiting.pop(following)
            turn = queue.pop()
            if queue:
                self._waiting[following] = queue  # at the end: callers take turns
            if not turn.cancelled():
                self._held[following] += 1
                turn.set_result(None)
