"""When a relay looks at its connections. Pure.

A sweep costs some µs for each descriptor, so an idle relay, and one that has only callers, does it once a second. gRPC holds up to 16 MiB
of metadata for a connection that has not acknowledged its settings, so new connections of strangers are looked at as they send.
"""

from __future__ import annotations

from collections.abc import Iterable

from relay_server.access.connection_rules import Connection

SWEEP_US = 1_000_000
LOOK_US = 250_000
"""Longest interval of `is_due`: new connections and activity that go unnoticed are detected by then."""
QUICK_US = 5_000
"""Shortest interval of sweeps."""
DESCRIPTOR_US = 20
"""Added to the shortest interval for each descriptor. A sweep takes 2 µs for each, so sweeps take at most a tenth of the time."""
YOUNG_US = 10_000_000
"""Time in which gRPC ends a connection without TLS, and one that does not acknowledge its settings (`grpc_servers.OPTIONS`)."""


def young(strangers: Iterable[Connection], now_us: int) -> list[Connection]:
    """The connections for which gRPC may still hold much metadata."""
    return [stranger for stranger in strangers if now_us - stranger.since_us < YOUNG_US]


def pause_us(descriptors: int) -> int:
    """The shortest time from one sweep to the next, with so many open descriptors."""
    return max(QUICK_US, DESCRIPTOR_US * descriptors)


class SweepTimes:
    """Decides when to sweep."""

    def __init__(self) -> None:
        self._opened = 0
        self._fresh = False
        self._due_us = 0

    def is_due(self, opened: int, active: bool, now_us: int) -> bool:
        """Whether to sweep now.

        `opened`: the number of connections ever opened; `active`: something arrived at a young connection or a listening socket, or the
        last sweep ended connections.
        """
        self._fresh = self._fresh or opened != self._opened
        new, self._opened = opened != self._opened, opened
        return new or active or now_us >= self._due_us

    def swept(self, any_young: bool, now_us: int) -> None:
        """Record a sweep; `any_young`: whether it left young connections of strangers."""
        soon = any_young or self._fresh  # gRPC may not have accepted a fresh one yet
        self._due_us, self._fresh = now_us + (LOOK_US if soon else SWEEP_US), False
