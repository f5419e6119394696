"""Ends connections without an admitted caller if there are too many, or if they begin too many RPCs or send too much.

The next connections of the same network wait for their turn (`connection_rules`, rule 7): the kernel drops their data until then.

gRPC has no API to list a server's connections or to end one. They are found among this process's descriptors, as sockets
whose local port is one that the relay listens on, and are shut down; gRPC then detects that the peer is gone. Linux only: without `/proc`
no connection is ended.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import socket
import stat
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from relay_server.access.connection_rules import (
    MAX_METADATA_BYTES,
    STRANGERS_PER_NETWORK,
    STREAMS_AT_ONCE,
    TURN_US,
    Connection,
    ConnectionRules,
)
from relay_server.access.packet_filter import drop_all, drop_data_of
from relay_server.access.peers import Endpoint, endpoint_of, network_of
from relay_server.access.refusal_log import RefusalLog
from relay_server.access.sweep_times import LOOK_US, SweepTimes, pause_us, young
from relay_server.connections.timers import until_next
from relay_server.service.socket_activity import SocketActivity

logger = logging.getLogger(__name__)

COUNTERS = "/proc/self/net/snmp"
"""Contains the number of connections that were ever opened to this network namespace: reading it costs less than a sweep."""
FOLDER = "/proc/self/fd"
FILES = 128
"""Descriptors reserved for files, pipes and outgoing connections."""

BACKLOG = 32
"""Connections that wait to be accepted. gRPC's thread accepts all that wait, at 50 µs and more for each, before it reads media, and its own
backlog is 4,096. While the queue is full, the kernel ignores new connections, and their clients try again after 1 s."""
STRANGER_BUFFER_BYTES = 64 << 10
"""Receive buffer of a listening socket, with which its connections begin. gRPC reads all that has arrived: with the kernel's default, which
grows to megabytes, a caller on loopback sends 2 MiB between two sweeps. It sets the scale of TCP windows, so none exceeds 128 KiB."""
SUSPECT_BUFFER_BYTES = 4 << 10
"""Receive buffer of a connection that waits for its turn, and so has received nothing yet: then it sends little before it is looked at."""
CALLER_BUFFER_BYTES = 192 << 10
"""Receive buffer of connections with an admitted caller: holds the largest window, and the default of `net.core.rmem_max` permits it.
HTTP/2's window of a stream, without `grpc.http2.bdp_probe`, is 64 KiB as long as no message is larger."""


def raise_descriptor_limit() -> int:
    """Raise this process's soft descriptor limit to the hard limit; returns the resulting limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS reports a higher limit than it allows
        return soft
    return hard


def max_connections(descriptors: int, servers: int) -> int:
    """The connection limit of each server. Half is always left to admitted callers, as at most a quarter may be strangers."""
    return max(16, (min(descriptors, 1 << 20) - FILES) // servers)


class ConnectionWatch:
    """Watches the connections of a relay. Belongs to one event loop: a separate thread would wait for the GIL at each call."""

    def __init__(self, rules: ConnectionRules, now_us: Callable[[], int]) -> None:
        self._rules = rules
        self._now_us = now_us
        self._log = RefusalLog(logger, now_us)
        self._ports: frozenset[int] = frozenset()
        self._seen: dict[int, tuple[int, Connection | None]] = {}
        """By descriptor number: the socket's inode, and its connection if it is one to the relay."""
        self._strangers: list[Connection] = []
        """Connections of strangers, as of the last sweep."""
        self._listening: set[int] = set()
        """Descriptors of gRPC's listening sockets."""
        self._narrow: set[Connection] = set()
        """Connections that have the receive buffer of a stranger."""
        self._filtered: tuple[str, ...] = ()
        """Networks whose new connections inherit a filter that drops data."""
        self._filtered_before: tuple[str, ...] = ()
        """The same, at the sweep before: a connection may have been accepted then, and not been seen."""
        self._unheard: set[Connection] = set()
        """Connections with that filter."""
        self._ended: set[tuple[int, int]] = set()
        self._count = 0
        self._null = self._spare = -1
        """Open while this runs. A socket is duplicated to descriptor `_spare` for shutdown, which works even if no descriptor is free."""

    def listen_on(self, addresses: Iterable[str]) -> None:
        """Set the relay's own addresses, each HOST:PORT, which gRPC has bound.

        New connections to them wait in a short queue, and begin with a small receive buffer.
        """
        self._ports = frozenset(int(address.rpartition(":")[2]) for address in addresses)
        self._look()

    async def run(self) -> None:
        """Sweep until cancelled. No connection is ended while this is not running."""
        self._null, self._spare = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)
        counters = _open_counters()
        times, activity, ended = SweepTimes(), SocketActivity(), 0
        try:
            while True:
                active = ended > 0 or await activity.wait(until_next((TURN_US if self._unheard else LOOK_US) / 1e6)) or bool(self._unheard)
                began_us, ended = self._now_us(), 0
                if times.is_due(_opened(counters), active, began_us):
                    ended = self.sweep()
                    fresh = young(self._strangers, began_us)
                    times.swept(bool(fresh), began_us)
                    activity.watch([*self._listening, *(connection.number for connection in fresh)])
                    await asyncio.sleep(pause_us(len(self._seen)) / 1e6)
        finally:
            activity.close()
            for number in (counters, self._null, self._spare):
                os.close(number)
            self._null = self._spare = -1

    def sweep(self) -> int:
        """End excess connections; returns how many were ended."""
        self._look()
        now_us = self._now_us()
        strangers = self._rules.strangers([connection for _, connection in self._seen.values() if connection is not None], now_us)
        self._widen(self._narrow.difference(strangers))
        senders = set(self._rules.senders(strangers, _received, now_us))
        self._strangers = [connection for connection in strangers if connection not in senders]
        ended = [connection for connection in senders if self._end(connection, deaf=True)]
        ended += [connection for connection in self._rules.excess(self._strangers, now_us) if self._end(connection)]
        self._unheard.difference_update(ended)
        for connection in self._rules.turns(self._unheard, now_us):
            self._hear(connection)
        self._filtered_before = self._filtered
        self._filter()
        for network, count in Counter(network_of(connection.endpoint[0]) for connection in ended).items():
            text = "ended %d connections of %s without an admitted caller: too many bytes, more than %d, or more than the relay accepts"
            self._log.write(network, text, count, network, STRANGERS_PER_NETWORK)
        return len(ended)

    def begin(self, peer: str, metadata_bytes: int) -> bool:
        """Count a new RPC of gRPC's `peer`; returns False if its connection was ended, for too many RPCs or too much metadata."""
        endpoint = endpoint_of(peer)
        if self._rules.begin(endpoint, metadata_bytes, self._now_us()):
            return True
        self._filter()
        if self._end_endpoint(endpoint):
            text = "ended a connection of %s: more than %d calls that were not admitted, or %d bytes of metadata"
            self._log.write(network_of(endpoint[0]), text, endpoint[0], STREAMS_AT_ONCE, MAX_METADATA_BYTES)
        return False

    def cut(self, peer: str) -> None:
        """End the connection of gRPC's `peer`, unless it is a proxy's, which also carries other callers."""
        endpoint = endpoint_of(peer)
        if not self._rules.is_exempt(endpoint, self._now_us()):
            self._end_endpoint(endpoint)

    @contextmanager
    def known(self, peer: str) -> Iterator[None]:
        """Count the peer's connection as admitted during the block."""
        endpoint = endpoint_of(peer)
        self._rules.admit(endpoint, self._now_us())
        try:
            yield
        finally:
            self._rules.leave(endpoint, self._now_us())

    # --- sockets ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Update `_seen` from this process's descriptors."""
        seen: dict[int, tuple[int, Connection | None]] = {}
        for number in _numbers():
            try:
                found = os.fstat(number)
            except OSError:
                continue
            if stat.S_ISSOCK(found.st_mode):
                known = self._seen.get(number)
                same = known is not None and known[0] == found.st_ino
                seen[number] = known if known is not None and same else (found.st_ino, self._connection(number, found.st_ino))
        self._seen = seen
        self._ended &= {(number, inode) for number, (inode, _) in seen.items()}
        self._unheard = {connection for connection in self._unheard if seen.get(connection.number) == (connection.inode, connection)}

    def _connection(self, number: int, inode: int) -> Connection | None:
        """The connection of a descriptor; None if it is not one to the relay."""
        try:
            with _borrowed(number) as held:
                if held.family not in (socket.AF_INET, socket.AF_INET6) or held.getsockname()[1] not in self._ports:
                    return None
                if held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    self._listening.add(number)
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STRANGER_BUFFER_BYTES)  # accepted sockets inherit it
                    held.listen(BACKLOG)
                    return None
                host, port = held.getpeername()[:2]
        except OSError:
            return None
        self._count += 1
        connection = Connection(number, inode, endpoint_of(f"ip:[{host}]:{port}"), self._count, self._now_us())
        self._narrow.add(connection)
        if network_of(connection.endpoint[0]) in (*self._filtered, *self._filtered_before):
            self._unheard.add(connection)
            with suppress(OSError), _borrowed(number) as held:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SUSPECT_BUFFER_BYTES)
        return connection

    def _widen(self, connections: Iterable[Connection]) -> None:
        """Give connections that are not strangers' the receive buffer of a caller. Some of them may be closed."""
        for connection in connections:
            self._narrow.discard(connection)
            if self._seen.get(connection.number) == (connection.inode, connection):
                with suppress(OSError), _borrowed(connection.number) as held:
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CALLER_BUFFER_BYTES)

    def _filter(self) -> None:
        """Have new connections of suspect networks inherit a filter."""
        if self._filtered == self._rules.suspects:
            return
        self._filtered = self._rules.suspects
        for number in self._listening:
            with suppress(OSError), _borrowed(number) as held:
                if not held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):  # closed, and its number in use again
                    continue
                if self._filtered:
                    _attach(held, drop_data_of(self._filtered))
                else:
                    held.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def _hear(self, connection: Connection) -> None:
        """Detach the filter that a connection has inherited, if it has one, and is not closed."""
        self._unheard.discard(connection)
        if self._seen.get(connection.number) == (connection.inode, connection):
            with suppress(OSError), _borrowed(connection.number) as held:
                held.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def _end_endpoint(self, endpoint: Endpoint) -> bool:
        """End the connection of an endpoint; False if there is none, or it was ended before."""
        found = self._find(endpoint)
        if found is None:
            self._look()
            found = self._find(endpoint)
        return found is not None and self._end(found, deaf=True)

    def _find(self, endpoint: Endpoint) -> Connection | None:
        for _, connection in self._seen.values():
            if connection is not None and connection.endpoint == endpoint:
                return connection
        return None

    def _end(self, connection: Connection, *, deaf: bool = False) -> bool:
        """Shut down a connection. Its descriptor may have been reused, so it is duplicated and its inode compared first."""
        mark = connection.number, connection.inode
        if mark in self._ended:
            return False
        try:
            os.dup2(connection.number, self._spare, inheritable=False)
            try:
                if os.fstat(self._spare).st_ino != connection.inode:
                    return False
                with _borrowed(self._spare) as held:
                    _shut_down(held, deaf=deaf)
            finally:
                os.dup2(self._null, self._spare, inheritable=False)
        except OSError:  # the peer closed it first
            return False
        self._ended.add(mark)
        return True


def _open_counters() -> int:
    try:
        return os.open(COUNTERS, os.O_RDONLY)
    except OSError:  # this system has none
        return os.open(os.devnull, os.O_RDONLY)


def _opened(counters: int) -> int:
    """The number of connections ever opened to this network namespace; -1 if it is unknown. `counters`: the open file."""
    tables = os.pread(counters, 1 << 14, 0).split(b"\nTcp: ")  # names, then values
    return int(tables[2].split()[5]) if len(tables) > 2 else -1


@contextmanager
def _borrowed(number: int) -> Iterator[socket.socket]:
    """A descriptor as a socket, which is not closed afterwards. Raises `OSError`."""
    held = socket.socket(fileno=number)
    try:
        yield held
    finally:
        held.detach()


def _received(connection: Connection) -> int:
    """The number of bytes received on a connection; 0 if it is closed, or if the kernel (before Linux 4.1) does not count them."""
    try:
        with _borrowed(connection.number) as held:
            info = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED + 8)
    except OSError:
        return 0
    return int.from_bytes(info[_BYTES_RECEIVED:], sys.byteorder)


def _shut_down(held: socket.socket, *, deaf: bool) -> None:
    """Shut down a socket. `deaf`: also discard received and future data, which gRPC would otherwise still process."""
    if deaf:
        with suppress(OSError):
            _attach(held, drop_all())
        with suppress(OSError):
            while held.recv_into(_UNREAD, 0, socket.MSG_DONTWAIT | socket.MSG_TRUNC):  # MSG_TRUNC: it is not copied
                pass
    held.shutdown(socket.SHUT_RDWR)


def _attach(held: socket.socket, program: bytes) -> None:
    """Apply a BPF program to what a socket receives. The kernel copies it."""
    buffer = ctypes.create_string_buffer(program)
    held.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(buffer)))


_UNREAD = bytearray(1 << 20)
_BYTES_RECEIVED = 128
"""Offset of `tcpi_bytes_received`, a 64-bit number, in the kernel's `struct tcp_info`."""
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
"""Linux constants without names in the `socket` module."""


def _numbers() -> Iterable[int]:
    """This process's descriptor numbers."""
    try:
        return [int(name) for name in os.listdir(FOLDER)]
    except FileNotFoundError:
        return ()
    except OSError:  # no descriptor is free for the listing, so nearly all numbers are in use
        return range(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
