"""Accepts connections at a limited rate: a flood of them must not take the time of the event loop, nor displace each other too soon."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from relay_server.access.peers import network_of
from relay_server.access.refusal_log import RefusalLog

AT_ONCE = 8
"""Connections that are accepted before others have a turn."""
PAUSE_S = 0.01
"""Then the others wait for so long: 800 connections a second in all. In the meantime, all that has arrived is handled."""
BACKLOG = 256
"""Connections that wait in the kernel: they are accepted within 0.32 s."""


class LinkListener:
    """Accepts the connections of a bound socket, until it is closed. Belongs to one event loop."""

    def __init__(self, bound: socket.socket, accepted: Callable[[socket.socket, str], None], log: RefusalLog) -> None:
        """`accepted` is called with each connection, which it then owns, and its network (see `network_of`; empty for a Unix socket)."""
        self._bound, self._accepted, self._log, self._loop = bound, accepted, log, asyncio.get_running_loop()
        bound.setblocking(False)
        bound.listen(BACKLOG)
        self._next = self._loop.call_later(0, self._loop.add_reader, bound, self._accept)

    def _accept(self) -> None:
        self._loop.remove_reader(self._bound)
        for _ in range(AT_ONCE):
            try:
                connection, address = self._bound.accept()
            except (BlockingIOError, ConnectionError):  # none waits, or the peer has closed it already
                break
            except OSError as error:  # no descriptor is free, or no memory: it waits in the kernel
                self._log.write("", "a connection of another relay cannot be accepted: %s", error)
                break
            connection.setblocking(False)
            self._accepted(connection, network_of(address[0]) if address else "")
        self._next = self._loop.call_later(PAUSE_S, self._loop.add_reader, self._bound, self._accept)

    def close(self) -> None:
        """Listen no more. Connections that have not been accepted are reset."""
        self._next.cancel()
        self._loop.remove_reader(self._bound)
        self._bound.close()
