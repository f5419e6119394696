"""Which connections are closed because no caller on them has presented credentials. Pure.

Rules

1. A connection is *known* while an RPC of an admitted caller is open on it, and for `KNOWN_US` after that.
2. All other connections are strangers'. At most `max_strangers` of them are kept, in equal shares for all networks (see `network_of`), and
   of those older than `ADMISSION_US` at most `STRANGERS_PER_NETWORK` of each network. The oldest are closed first. When hundreds of
   devices behind one address connect at once, all are strangers until the relay has admitted them.
3. A connection may begin `STREAMS_AT_ONCE` RPCs that are not admitted, and `STREAMS_PER_S` a second after that. A known connection may
   begin `KNOWN_FACTOR` times as many, because an unlisted proxy may carry strangers and callers.
4. An RPC with more than `MAX_METADATA_BYTES` of metadata closes its connection. gRPC refuses it, but only if the peer has acknowledged
   the limit; until then it accepts 16 MiB.
5. A stranger's connection may send `STRANGER_BYTES` at once, and `STRANGER_BYTES_PER_S` over time. This bounds headers that never
   end, which gRPC holds in memory.
6. All strangers together may have sent `STRANGERS_BYTES` recently, within about the time that they have to acknowledge the settings of
   HTTP/2, which bound headers. If they sent more, those that sent most are closed first.
7. For `SUSPECT_US` after a connection broke rule 4 or 5, its network is suspect: other strangers of it may send only `SUSPECT_BYTES` at
   once. gRPC reads one connection for as long as bytes arrive and all others wait, so those of one attacker must not have their turns one
   after another. New connections of a suspect network are heard one at a time, every `TURN_US`, in the order in which they came: a
   request of 8 KB whose headers expand (HPACK) takes 1.1 MiB and 5 ms before anything can refuse it.
8. Connections of the configured proxies are exempt: one of them carries many callers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from relay_server.access.peers import Endpoint, is_within, network_of

STRANGERS_PER_NETWORK = 64
ADMISSION_US = 3_000_000
"""A relay admits a caller within milliseconds, and 1,000 that connect at once within 2 s."""
STREAMS_AT_ONCE = 100
STREAMS_PER_S = 10
"""Enough for ten supervisors behind one connection that check health each second."""
KNOWN_FACTOR = 10
KNOWN_US = 60_000_000
"""Longer than the usual pause of an operator with `relayctl`, or of a polling dashboard, on one connection."""
MAX_METADATA_BYTES = 16 << 10
STRANGER_BYTES = 128 << 10
"""A TLS handshake with a chain of client certificates takes less than 64 KiB, a health check some hundred bytes, and HTTP/2's window
allows 64 KiB until a caller is admitted."""
STRANGER_BYTES_PER_S = 64 << 10
STRANGERS_BYTES = 4 << 20
RECENT_BYTES_PER_S = 8 << 10
"""What a stranger's connection sent counts for rule 6 less by this for each second."""
SUSPECT_BYTES = 3 << 10
"""The receive buffer of a stranger's connection holds more, so one that waits for its turn exceeds it. A caller sends less before it is
admitted, unless it has a chain of certificates or pipelines its requests."""
SUSPECT_US = 2_000_000
TURN_US = 10_000
"""An attacker's connections have had their turns, and a caller its own, within 2 s: at 25 ms, 60 connections took 3.1 s."""
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
    since_us: int = 0
    """When it was first seen."""


@dataclass(slots=True)
class _Record:
    """The state of one endpoint."""

    left: float
    """RPCs that it may still begin without being admitted."""
    at_us: int
    exempt: bool
    admitted: int = 0
    known_until_us: int = 0
    received_bytes: int | None = 0
    """What the connection had received at `counted_us`; None while it is known."""
    counted_us: int = 0
    level_bytes: float = 0.0
    """For rule 5: grows with what is received, and falls by `STRANGER_BYTES_PER_S`."""
    recent_bytes: float = 0.0
    """For rule 6: the same, but falls by `RECENT_BYTES_PER_S`."""


class ConnectionRules:
    """Counts RPCs and admissions per connection, and selects the connections to close."""

    def __init__(self, max_strangers: int, proxies: Sequence[str] = ()) -> None:
        self._max_strangers = max_strangers
        self._proxies = proxies
        self._records: dict[Endpoint, _Record] = {}
        self._suspects: dict[str, int] = {}
        """Networks to which rule 7 applies, and until when (µs)."""
        self._turns: dict[str, int] = {}
        """When the next connection of such a network may be heard (µs)."""

    def begin(self, endpoint: Endpoint, metadata_bytes: int, now_us: int) -> bool:
        """Count a new RPC; return False if it or its connection exceeds rule 3 or 4, so that the connection must be closed."""
        record = self._record(endpoint, now_us)
        if record.exempt:
            return True
        if metadata_bytes > MAX_METADATA_BYTES:
            self._suspect(endpoint, now_us)
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
        record.received_bytes = None

    def leave(self, endpoint: Endpoint, now_us: int) -> None:
        """An admitted caller's RPC has ended."""
        record = self._record(endpoint, now_us)
        record.admitted -= 1
        record.known_until_us = now_us + KNOWN_US

    def strangers(self, connections: Iterable[Connection], now_us: int) -> list[Connection]:
        """Those of the open connections that are strangers'. Forgets endpoints without an open connection."""
        open_ = {connection.endpoint: self._record(connection.endpoint, now_us) for connection in connections}
        self._records = open_ | {endpoint: record for endpoint, record in self._records.items() if record.admitted}
        return [one for one in connections if not open_[one.endpoint].exempt and not self._is_known(open_[one.endpoint], now_us)]

    def senders(self, strangers: Iterable[Connection], received: Callable[[Connection], int], now_us: int) -> list[Connection]:
        """The connections to close by rules 5 to 7. `received` returns the number of bytes received on a connection."""
        counted = [(connection, self._record(connection.endpoint, now_us)) for connection in strangers]
        self._suspects = {network: until_us for network, until_us in self._suspects.items() if now_us < until_us}
        self._turns = {network: turn_us for network, turn_us in self._turns.items() if network in self._suspects}
        for connection, record in counted:
            self._count(record, received(connection), now_us)
            if record.level_bytes > STRANGER_BYTES:
                self._suspect(connection.endpoint, now_us)
        over, others = list[Connection](), list[tuple[float, Connection]]()
        for connection, record in counted:
            most = SUSPECT_BYTES if self._suspects and network_of(connection.endpoint[0]) in self._suspects else STRANGER_BYTES
            if record.level_bytes > most:
                over.append(connection)
            else:
                others.append((record.recent_bytes, connection))
        others.sort(key=lambda one: one[0])
        in_all = sum([recent for recent, _ in others])
        while in_all > STRANGERS_BYTES:
            recent, connection = others.pop()
            in_all -= recent
            over.append(connection)
        return over

    @property
    def suspects(self) -> tuple[str, ...]:
        """Networks to which rule 7 applies; those that lately became suspect are last."""
        return tuple(self._suspects)

    def turns(self, unheard: Iterable[Connection], now_us: int) -> list[Connection]:
        """Those of the connections that were not heard yet to hear now, by rule 7."""
        heard = list[Connection]()
        for connection in sorted(unheard, key=lambda one: one.order):
            network = network_of(connection.endpoint[0])
            if network not in self._suspects:
                heard.append(connection)
            elif now_us >= self._turns.get(network, 0):
                self._turns[network] = now_us + TURN_US
                heard.append(connection)
        return heard

    def excess(self, strangers: Iterable[Connection], now_us: int) -> list[Connection]:
        """The connections to close by rule 2."""
        networks: defaultdict[str, list[Connection]] = defaultdict(list)
        for connection in strangers:
            networks[network_of(connection.endpoint[0])].append(connection)
        sizes = [len(those) for those in networks.values()]
        share = max(sizes, default=0)
        while share and sum([min(size, share) for size in sizes]) > self._max_strangers:
            share -= 1
        over = list[Connection]()
        for those in networks.values():
            those.sort(key=lambda one: one.order, reverse=True)
            late = [one for one in those[STRANGERS_PER_NETWORK:share] if now_us - one.since_us > ADMISSION_US]
            over += [*late, *those[share:]]
        return over

    def _suspect(self, endpoint: Endpoint, now_us: int) -> None:
        network = network_of(endpoint[0])
        self._suspects.pop(network, None)
        self._suspects[network] = now_us + SUSPECT_US

    def _record(self, endpoint: Endpoint, now_us: int) -> _Record:
        record = self._records.get(endpoint)
        if record is None:
            host = endpoint[0]
            record = _Record(float(STREAMS_AT_ONCE), now_us, is_within(host, self._proxies), counted_us=now_us)
            self._records[endpoint] = record
            if len(self._records) > MAX_ENDPOINTS:
                del self._records[next(iter(self._records))]
        return record

    @staticmethod
    def _count(record: _Record, received_bytes: int, now_us: int) -> None:
        if record.received_bytes is None:  # it has become a stranger's
            record.received_bytes = received_bytes
        fresh, elapsed_s = received_bytes - record.received_bytes, (now_us - record.counted_us) / 1e6
        record.level_bytes = max(0.0, record.level_bytes - STRANGER_BYTES_PER_S * elapsed_s) + fresh
        record.recent_bytes = max(0.0, record.recent_bytes - RECENT_BYTES_PER_S * elapsed_s) + fresh
        record.received_bytes, record.counted_us = received_bytes, now_us

    @staticmethod
    def _is_known(record: _Record, now_us: int) -> bool:
        return record.admitted > 0 or now_us < record.known_until_us
