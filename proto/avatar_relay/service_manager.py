"""Reports to systemd that a program is ready, alive, or stopping. Does nothing without NOTIFY_SOCKET.

The protocol is sd_notify(3): datagrams of NAME=VALUE lines to the Unix socket that NOTIFY_SOCKET names. With WatchdogSec= in the unit
systemd kills and restarts a program that is silent for that time (WATCHDOG_USEC).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger(__name__)


class ServiceManager:
    """Sends states to systemd. Thread-safe."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environment.get("WATCHDOG_USEC", "")
        self.watchdog_us = int(usec) if for_us and self._address and usec.isdecimal() else 0
        """Silence after which systemd restarts the program; 0 if the watchdog is off."""

    def tell_status(self, text: str) -> None:
        """Send the line that `systemctl status` shows, if it has changed. Call it from one thread only."""
        if text != self._status:
            self._status = text
            self.tell(f"STATUS={text}")

    def tell(self, state: str) -> None:
        """Send a state, such as `READY=1`. A failure is logged and ignored."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            logger.warning("systemd cannot be told %s: %s", state, error)


class Heart:
    """Pings systemd's watchdog as long as each part of the program is alive.

    Each part beats at least every few tenths of a second, from its own thread. If one is stuck for half of the watchdog's time, the pings
    stop, and systemd restarts the program.
    """

    def __init__(self, manager: ServiceManager, parts: Sequence[str], clock_us: Callable[[], int]) -> None:
        self._manager = manager
        self._clock_us = clock_us
        self._period_us = manager.watchdog_us // 4
        now_us = clock_us()
        self._beats = dict.fromkeys(parts, now_us)
        self._told_us = now_us

    def beat(self, part: str) -> None:
        """Report that a part is alive."""
        if not self._period_us:
            return
        now_us = self._clock_us()
        self._beats[part] = now_us
        if now_us - self._told_us >= self._period_us and now_us - min(self._beats.values()) < 2 * self._period_us:
            self._told_us = now_us
            self._manager.tell("WATCHDOG=1")
