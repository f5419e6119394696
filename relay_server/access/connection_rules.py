"""Which connections are closed because no caller on them has presented credentials. Pure.

Rules

1. A connection is *known* while an RPC of an admitted caller is open on it, and for `KNOWN_US` after that.
2. All other connections are strangers'. The newest `STRANGERS_PER_NETWORK` of each network (see `network_of`) are kept, and at most
   `max_strangers` in total. An honest caller is admitted within milliseconds, so the oldest strangers are closed first.
3. A connection may begin `STREAMS_AT_ONCE` RPCs that are not admitted, and `STREAMS_PER_S` a second after that. A known connection may
   begin `KNOWN_FACTOR` times as many, because an unlisted proxy may carry strangers and callers.
4. An RPC with more than `MAX_METADATA_BYTES` of metadata closes its connection. gRPC refuses it, but only if the peer has acknowledged
   the limit; until then it accepts 16 MiB.
5. A stranger's connection may send `STRANGER_BYTES`, and `STRANGER_BYTES_PER_S` more for each second. This bounds headers that never
   end, which gRPC holds in memory.
6. Connections of the configured proxies are exempt: one of them carries many callers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from relay_server.access.peers import Endpoint, is_within, network_of

STRANGERS_PER_NETWORK = 64
STREAMS_AT_ONCE = 100
STREAMS_PER_S = 10
"""Enough for ten supervisors behind one connection that check health each second."""
KNOWN_FACTOR = 10
KNOWN_US = 60_000_000
"""Longer than the usual pause of an operator with `relayctl`, or of a polling dashboard, on one connection."""
MAX_METADATA_BYTES = 16 << 10
STRANGER_BYTES = 256 << 10
"""A TLS handshake with a chain of client certificates takes less than 64 KiB, a health check some hundred bytes."""
STRANGER_BYTES_PER_S = 64 << 10
MAX_ENDPOINTS = 65_536
"""Endpoints remembered between two sweeps."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection: its file descriptor, and the inode that distinguishes this socket from a later one with the same descriptor."""

    number: int
    inode: int
    endpoint: Endpoint
    order: int
    """Increases with each new connection."""


@dataclass(slots=True)
class _Record:
    """The state of one endpoint."""

    left: float
    """RPCs that it may still begin without being admitted."""
    at_us: int
    exempt: bool
    network: str
    admitted: int = 0
    known_until_us: int = 0
    base_bytes: int | None = 0
    """What the connection had received at `base_us`; None while it is known."""
    base_us: int = 0


class ConnectionRules:
    """Counts RPCs and admissions per connection, and selects the connections to close."""

    def __init__(self, max_strangers: int, proxies: Sequence[str] = ()) -> None:
        self._max_strangers = max_strangers
        self._proxies = proxies
        self._records: dict[Endpoint, _Record] = {}

    def begin(self, endpoint: Endpoint, metadata_bytes: int, now_us: int) -> bool:
        """Count a new RPC; return False if it or its connection exceeds rule 3 or 4, so that the connection must be closed."""
        record = self._record(endpoint, now_us)
        if record.exempt:
            return True
        if metadata_bytes > MAX_METADATA_BYTES:
            return False
        factor = KNOWN_FACTOR if self._is_known(record, now_us) else 1
        regained = (now_us - record.at_us) * factor * STREAMS_PER_S / 1e6
        record.left, record.at_us = min(record.left + regained, float(factor * STREAMS_AT_ONCE)), now_us
        if record.left < 1:
            return False
        record.left -= 1
        return True

    def is_exempt(self, endpoint: Endpoint, now_us: int) -> bool:
        """Whether the endpoint is a configured proxy."""
        return self._record(endpoint, now_us).exempt

    def admit(self, endpoint: Endpoint, now_us: int) -> None:
        """Count an RPC whose caller was admitted; `leave` follows."""
        record = self._record(endpoint, now_us)
        record.left += 1
        record.admitted += 1
        record.base_bytes = None

    def leave(self, endpoint: Endpoint, now_us: int) -> None:
        """An admitted caller's RPC has ended."""
        record = self._record(endpoint, now_us)
        record.admitted -= 1
        record.known_until_us = now_us + KNOWN_US

    def excess(self, connections: Iterable[Connection], received: Callable[[Connection], int], now_us: int) -> list[Connection]:
        """The open connections to close by rules 2 and 5. Forgets endpoints without an open connection.

        `received` returns the number of bytes received on a connection; it is called for those of strangers.
        """
        networks: defaultdict[str, list[Connection]] = defaultdict(list)
        open_: dict[Endpoint, _Record] = {}
        large = list[Connection]()
        for connection in connections:
            record = open_[connection.endpoint] = self._record(connection.endpoint, now_us)
            if record.exempt or self._is_known(record, now_us):
                continue
            if self._sent_too_much(record, received(connection), now_us):
                large.append(connection)
            else:
                networks[record.network].append(connection)
        self._records = open_ | {endpoint: record for endpoint, record in self._records.items() if record.admitted}
        sizes = [len(strangers) for strangers in networks.values()]
        share = STRANGERS_PER_NETWORK
        while share and sum([min(size, share) for size in sizes]) > self._max_strangers:
            share -= 1
        over = [sorted(strangers, key=lambda one: one.order)[: max(0, len(strangers) - share)] for strangers in networks.values()]
        return [*large, *(connection for oldest in over for connection in oldest)]

    def _record(self, endpoint: Endpoint, now_us: int) -> _Record:
        record = self._records.get(endpoint)
        if record is None:
            host = endpoint[0]
            record = _Record(float(STREAMS_AT_ONCE), now_us, is_within(host, self._proxies), network_of(host), base_us=now_us)
            self._records[endpoint] = record
            if len(self._records) > MAX_ENDPOINTS:
                del self._records[next(iter(self._records))]
        return record

    @staticmethod
    def _sent_too_much(record: _Record, received_bytes: int, now_us: int) -> bool:
        if record.base_bytes is None:  # it has become a stranger's
            record.base_bytes, record.base_us = received_bytes, now_us
        allowed = STRANGER_BYTES + STRANGER_BYTES_PER_S * (now_us - record.base_us) / 1e6
        return received_bytes - record.base_bytes > allowed

    @staticmethod
    def _is_known(record: _Record, now_us: int) -> bool:
        return record.admitted > 0 or now_us < record.known_until_us
