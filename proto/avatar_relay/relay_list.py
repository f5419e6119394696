"""Which of several relays a client tries next: spread, stay, fail over. Pure.

Rules
1. The order is drawn once, so that many clients with the same list spread over its relays.
2. A client whose stream ended tries the same relay first, because its session is there; not one that drains.
3. After an attempt that failed, the next relay follows. How long the client waits before it is `avatar_relay.backoff`'s.
4. A relay's hint to wait holds for that relay alone: one that may be tried now goes before one that asked to be left alone.
5. A refusal is final when every relay of the list gave one, without a welcome in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

MAX_RELAYS = 32


class RelayList:
    """One client's relays. `uniform` draws from [0, 1)."""

    def __init__(self, addresses: Sequence[str], uniform: Callable[[], float]) -> None:
        """`addresses`: at least one; one that is named twice counts once."""
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
        """The relay took this client."""
        self._refused.clear()

    def ended(self, now_us: int, asked_s: float, *, stay: bool, refused: bool = False) -> float:
        """A stream or an attempt ended; returns how long to wait at least before the next attempt, in seconds.

        `asked_s` is the relay's hint; `stay`: it is tried again first; `refused`: it will never take this client.
        """
        self._not_before_us[self.address] = now_us + round(asked_s * 1e6)
        if refused:
            self._refused.add(self.address)
        if not stay:
            self._order.append(self._order.pop(0))
        waits_us = [max(0, self._not_before_us[address] - now_us) for address in self._order]
        at = waits_us.index(min(waits_us))
        self._order = self._order[at:] + self._order[:at]
        return waits_us[at] / 1e6
