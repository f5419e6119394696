"""A publisher's pings over several relays: a pong is passed on when all of them have answered. Pure.

So the guarantees of a pong hold for all relays: everything sent before the ping was processed, and every response to an earlier `open` was
sent before the pong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from avatar_relay.messages import Pong


class Barriers:
    """The pings of one publisher's stream. Each relay answers its pings in order."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[int]] = {}
        self._waiting: dict[int, set[str]] = {}
        self._pongs: dict[int, Pong] = {}
        self._own: dict[int, str] = {}
        self._number = 0

    def ping(self, relays: Iterable[str], own: str | None = None) -> None:
        """Note a ping to these relays. `own`: a ping by the door itself; `pong` returns this text when all have answered."""
        self._number += 1
        if own is not None:
            self._own[self._number] = own
        self._waiting[self._number] = set(relays)
        for relay in self._waiting[self._number]:
            self._asked.setdefault(relay, deque()).append(self._number)

    def pong(self, relay: str, pong: Pong, *, tells_time: bool) -> Pong | str | None:
        """Note a relay's pong. If it was the last one: the pong to pass on, or the `own` text of the ping; else None.

        `tells_time`: pass on this relay's pong, for its clock.
        """
        asked = self._asked.get(relay)
        if not asked:
            return None
        number = asked.popleft()
        if tells_time or number not in self._pongs:
            self._pongs[number] = pong
        self._waiting[number].discard(relay)
        if self._waiting[number]:
            return None
        del self._waiting[number]
        answer = self._pongs.pop(number)
        return self._own.pop(number, answer)
