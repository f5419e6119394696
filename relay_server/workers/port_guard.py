"""Reserves an address for the workers of one supervisor: they share it, and no other process can use it.

1. A lock named after the address keeps other supervisors away, from before the first worker listens. It is an abstract Unix socket, which
   the kernel releases with the process.
2. A socket without SO_REUSEPORT proves that no process listens on the address: with SO_REUSEPORT, a second cluster of the same user could
   bind too.
3. A socket with SO_REUSEPORT is bound but does not listen. Workers may bind beside it, with SO_REUSEPORT; a single relay may not.
"""

from __future__ import annotations

import errno
import socket

from avatar_relay.addresses import split_address
from avatar_relay.errors import ConfigError
from relay_server.listening import resolved, why_not


class PortGuard:
    """Reserves an address until `close`, or the end of the process. `address` has the actual port."""

    def __init__(self, name: str, address: str) -> None:
        """`name` is the setting of `address`; port 0 selects a free one. Blocks while a host name is resolved.

        Raises `ConfigError` if the address cannot be used.
        """
        host, port = split_address(address, name, port_zero=True)
        self._sockets: list[socket.socket] = []
        try:
            if port:
                self._lock(f"{host}:{port}")
            if text := why_not(host, port):
                raise ConfigError(f"{name}: {address} {text}")
            port = self._hold(host, port)
        except OSError as error:
            self.close()
            taken = error.errno == errno.EADDRINUSE
            why = "another relay runs or starts there; stop it, or choose another port" if taken else error.strerror
            raise ConfigError(f"{name}: {address} cannot be used: {why}") from error
        except ConfigError:
            self.close()
            raise
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Release the address. Idempotent."""
        for held in self._sockets:
            held.close()

    def _lock(self, name: str) -> None:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sockets.append(lock)
        lock.bind(f"\0avatar-relay/{name[:90]}")

    def _hold(self, host: str, port: int) -> int:
        for family, address in resolved(host, port):
            guard = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append(guard)
            guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            where = (address[0], port, *address[2:])
            try:
                guard.bind(where)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closing connections of an earlier relay remain
                guard.bind(where)
            port = port or guard.getsockname()[1]
        return port
