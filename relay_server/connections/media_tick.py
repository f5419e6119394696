"""The tick: media may wait a little, so that what comes within it leaves in one message, and all devices are served in one go.

One timer for all devices, on a grid, and only while media waits.
"""

from __future__ import annotations

import asyncio
from typing import Any

from relay_server.connections.ports import Port


class MediaTick:
    """Belongs to the running event loop. Wakes each port that media waits for once a tick."""

    def __init__(self, tick_us: int) -> None:
        self._tick_s = tick_us / 1e6
        self._waiting: dict[Port[Any], None] = {}

    def wake(self, port: Port[Any]) -> None:
        """Media waits for this port."""
        if not self._waiting:
            loop = asyncio.get_running_loop()
            loop.call_at((loop.time() // self._tick_s + 1) * self._tick_s, self._go)
        self._waiting[port] = None

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for port in waiting:
            port.wake()
