"""The media tick: delays media briefly, so that media received within it is sent in one message, to all devices at once.

One timer for all devices, at multiples of the tick, only while media waits.
"""

from __future__ import annotations

import asyncio
from typing import Any

from relay_server.connections.ports import Port
from relay_server.connections.timers import until_next


class MediaTick:
    """Wakes each port with waiting media once a tick. Belongs to the running event loop."""

    def __init__(self, tick_us: int) -> None:
        self._tick_s = tick_us / 1e6
        self._waiting: dict[Port[Any], None] = {}

    def wake(self, port: Port[Any]) -> None:
        """Wake this port at the next tick."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(until_next(self._tick_s), self._go)
        self._waiting[port] = None

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for port in waiting:
            port.wake()
