"""Discovers relays that announce themselves in the local network."""

from __future__ import annotations

import threading
from typing import Any

from avatar_relay.announcement import SERVICE, Announcement, read_announcement
from edge_client.errors import DiscoveryError

MAX_RELAYS = 64
"""Maximum number of announced names that are examined."""
ASK_MS = 300


class Browser:
    """Browses from its creation until `close`. zeroconf has its own thread; `found` blocks briefly."""

    def __init__(self, *, service: str = SERVICE, interfaces: list[str] | None = None) -> None:
        """`interfaces` are addresses of this machine; None: all of its interfaces. Raises `DiscoveryError`."""
        try:
            import zeroconf  # imported late: it takes 0.2 s, and most devices have an address
        except ImportError as error:
            raise DiscoveryError("the package zeroconf is not installed: pip install 'avatar-relay[discovery]'") from error
        self._names: dict[str, None] = {}
        self._lock = threading.Lock()
        self._service = service
        self._info: Any = zeroconf.ServiceInfo
        try:
            self._zeroconf = zeroconf.Zeroconf(interfaces=zeroconf.InterfaceChoice.All if interfaces is None else interfaces)
        except OSError as error:
            raise DiscoveryError(f"the network cannot be searched: {error.strerror or error}") from error
        self._browser = zeroconf.ServiceBrowser(self._zeroconf, service, handlers=[self._changed])
        self._removed = zeroconf.ServiceStateChange.Removed

    def found(self) -> list[Announcement]:
        """The relays that currently announce themselves."""
        with self._lock:
            names = list(self._names)
        read = []
        for name in names:
            info = self._info(self._service, name)
            if info.request(self._zeroconf, ASK_MS):
                label = name.removesuffix(f".{self._service}")
                read.append(read_announcement(label, info.parsed_addresses(), info.port or 0, info.properties))
        return [one for one in read if one is not None]

    def close(self) -> None:
        """Stop browsing."""
        self._zeroconf.close()

    def _changed(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        with self._lock:
            if state_change == self._removed:
                self._names.pop(name, None)
            elif len(self._names) < MAX_RELAYS:
                self._names[name] = None
