"""Waits until something arrives at one of several sockets. Linux only: elsewhere nothing is detected."""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Iterable
from contextlib import suppress


class SocketActivity:
    """Detects connections and data that arrive at gRPC's sockets, without reading them. Belongs to one event loop.

    A socket is reported once after each call of `watch`, so a sender causes no more wake-ups than that. What gRPC's threads
    take before this loop looks is missed, so this is no replacement for looking regularly.
    """

    def __init__(self) -> None:
        """Needs a running event loop. Raises `OSError` if no descriptor is free."""
        self._loop = asyncio.get_running_loop()
        self._seen = asyncio.Event()
        if sys.platform == "linux":
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._take)

    def watch(self, numbers: Iterable[int]) -> None:
        """Report the next activity of these descriptors. Ignores closed ones."""
        if sys.platform == "linux":
            for number in numbers:
                with suppress(OSError):
                    try:
                        self._epoll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
                    except FileNotFoundError:
                        self._epoll.register(number, select.EPOLLIN | select.EPOLLONESHOT)

    async def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for activity; returns whether there was any since the last call."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._seen.wait()
        seen = self._seen.is_set()
        self._seen.clear()
        return seen

    def close(self) -> None:
        """Stop watching."""
        if sys.platform == "linux":
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _take(self) -> None:
        if sys.platform == "linux":
            self._epoll.poll(0)  # disarms them
        self._seen.set()
