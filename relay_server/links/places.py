"""Which connection is closed if too many have proved nothing yet. Pure.

It is the oldest one of the network that has most of them. So a flood from one address closes none of another one's. A connection from the
flood's own address has the time in which the listener accepts as many others as there are places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

Connection = TypeVar("Connection")


def one_too_many(networks: Mapping[Connection, str], places: int) -> Connection | None:
    """The connection that must go; None if there are places for all. `networks`: of each connection, the oldest one first."""
    if len(networks) <= places:
        return None
    largest = Counter(networks.values()).most_common(1)[0][0]  # of several, the one that comes first
    return next(connection for connection, network in networks.items() if network == largest)
