"""The relay's two clocks, injected by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from avatar_relay.messages import Ping, Pong


@dataclass(frozen=True, slots=True)
class Clocks:
    """`now_us` is monotonic and includes time in suspend; `unix_time_us` is the wall clock. Both in µs."""

    now_us: Callable[[], int]
    unix_time_us: Callable[[], int]

    def pong(self, ping: Ping) -> Pong:
        """The pong for a ping that was received just now."""
        now_us = self.now_us()
        return Pong(ping.ping_id, ping.sent_time_us, now_us, now_us, self.unix_time_us())

    def sent(self, pong: Pong) -> Pong:
        """The pong with the send times set to now."""
        return Pong(pong.ping_id, pong.ping_sent_time_us, pong.received_time_us, self.now_us(), self.unix_time_us())
