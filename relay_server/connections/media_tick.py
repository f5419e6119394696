"""The tick: media may wait a little, so that what comes within it leaves in one message, and all devices are served in one go.

One timer for all devices, on a grid, and only while media waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class MediaTick:
    """Belongs to the running event loop. `wake_device` is called for each device once a tick."""

    def __init__(self, tick_us: int, wake_device: Callable[[str], None]) -> None:
        self._tick_s = tick_us / 1e6
        self._wake_device = wake_device
        self._waiting: dict[str, None] = {}

    def wake(self, device_id: str) -> None:
        """Media waits for this device."""
        if not self._waiting:
            loop = asyncio.get_running_loop()
            loop.call_at((loop.time() // self._tick_s + 1) * self._tick_s, self._go)
        self._waiting[device_id] = None

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for device_id in waiting:
            self._wake_device(device_id)
