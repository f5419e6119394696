"""Limits the places that one identity may hold of a shared total. Pure.

Without access control there are no identities (`owner` is empty): then only the total limit applies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from avatar_relay.reasons import Fault, Reason
from relay_server.errors import RequestError

RETRY_MS = 10_000


class Shares:
    """At most `most` places in all, and `each` for one owner."""

    def __init__(self, what: str, most: int, each: int) -> None:
        """`what` names the places in error texts, in the plural."""
        self._what = what
        self._most = most
        self._each = each
        self._held: Counter[str] = Counter()

    def take(self, owner: str) -> None:
        """Take a place; the caller must `give_back` it. Raises `RequestError` if none is free."""
        if self._held.total() >= self._most:
            raise RequestError(Fault(Reason.LIMIT_REACHED, f"{self._most} {self._what} are open already", retry_after_ms=RETRY_MS))
        if owner and self._held[owner] >= self._each:
            text = f"{owner} has {self._each} {self._what} open already, its maximum"
            raise RequestError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=RETRY_MS))
        self._held[owner] += 1

    def give_back(self, owner: str) -> None:
        """Return a place."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Hold a place during the block. Raises `RequestError` if none is free."""
        self.take(owner)
        try:
            yield
        finally:
            self.give_back(owner)
