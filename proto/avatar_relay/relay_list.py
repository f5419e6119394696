"""Selects which of several relays a client tries next: spread, stay, fail over. Pure.

Rules
1. The order is drawn once, so that many clients with the same list spread over its relays.
2. A client whose stream ended tries the same relay first, because its session is there; not one that drains.
3. After a failed attempt, the next relay follows. The wait before it is determined by `avatar_relay.backoff`.
4. A relay's retry hint applies to that relay alone: relays that may be tried now are preferred to those that asked to wait.
5. A refusal is final when every relay of the list has refused, without a welcome in between.
6. A relay that drains may name the next one. That is followed only to a relay of the list that has neither refused nor asked to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

MAX_RELAYS = 32


class RelayList:
    """One client's relays. `uniform` draws from [0, 1)."""

    def __init__(self, addresses: Sequence[str], uniform: Callable[[], float]) -> None:
        """`addresses`: at least one; duplicates count once."""
        self._order = sorted(dict.fromkeys(addresses), key=lambda _: uniform())
        self._not_before_us = dict.fromkeys(self._order, 0)
        self._refused: set[str] = set()

    @property
    def address(self) -> str:
        """The relay to try now."""
        return self._order[0]

    @property
    def all_refused(self) -> bool:
        """Whether every relay refused this client since its last welcome."""
        return len(self._refused) == len(self._order)

    def welcomed(self) -> None:
        """The relay accepted this client."""
        self._refused.clear()

    def ended(self, now_us: int, asked_s: float, *, stay: bool, refused: bool = False, sent_to: str = "") -> float:
        """A stream or an attempt ended; returns the minimum wait before the next attempt, in seconds.

        `asked_s` is the relay's hint; `stay`: it is tried again first; `refused`: it will never accept this client; `sent_to`: the relay
        that it named (rule 6).
        """
        self._not_before_us[self.address] = now_us + round(asked_s * 1e6)
        if refused:
            self._refused.add(self.address)
        if not stay:
            self._order.append(self._order.pop(0))
        waits_us = [max(0, self._not_before_us[address] - now_us) for address in self._order]
        at = waits_us.index(min(waits_us))
        if sent_to in self._order and sent_to not in self._refused and not waits_us[self._order.index(sent_to)]:
            at = self._order.index(sent_to)
        self._order = self._order[at:] + self._order[:at]
        return waits_us[at] / 1e6
