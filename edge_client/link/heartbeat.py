"""When the device pings, and how long the relay may be silent. Pure.

Rules
- A ping every `HEARTBEAT_US`. Without a conversation the interval is the longest that the relay allows (`Limits.idle_heartbeat_ms`).
- A relay that accepts joined messages (`Welcome.takes_joined`) hears the device by its answers to the relay's own pings. Every
  `ANSWERS_PER_PING`th carries a ping, for the clock. A separate ping is sent only if the relay's pings are late.
- A relay that is silent for `PEER_TIMEOUT_US` is dead; without a conversation, after `IDLE_BEATS` of the longer intervals.
"""

from __future__ import annotations

from avatar_relay.limits import HEARTBEAT_US, IDLE_BEATS, MAX_IDLE_HEARTBEAT_US, PEER_TIMEOUT_US
from avatar_relay.messages import Ping, Welcome

ANSWERS_PER_PING = 3
"""The clock probe keeps one reading of ten seconds."""


class Heartbeat:
    """The heartbeat of one device, over all its streams. Times are monotonic, in µs."""

    def __init__(self) -> None:
        self.busy = True
        """There may be a conversation."""
        self.joins = False
        """The relay accepts several messages as one."""
        self._idle_us = 0
        self._pings = 0
        self._spoke_us: int | None = None
        """Time of the last ping or answer."""
        self._answers = 0

    def welcome(self, welcome: Welcome) -> None:
        """Note the start of a stream."""
        self._idle_us = min(welcome.limits.idle_heartbeat_ms * 1_000, MAX_IDLE_HEARTBEAT_US)
        self.joins = welcome.takes_joined
        self._spoke_us = None
        self._answers = 0

    def answered(self, now_us: int) -> bool:
        """Note an answer to a ping of the relay, sent now; returns whether a ping travels with it."""
        if not self.joins:
            return False
        self._spoke_us = now_us
        self._answers += 1
        return self._answers % ANSWERS_PER_PING == 1

    def ping(self, now_us: int) -> Ping:
        """The next ping, which is sent now."""
        self._pings += 1
        self._spoke_us = now_us
        return Ping(self._pings, now_us)

    def wait_us(self, now_us: int) -> int:
        """Time until a separate ping is due; 0 if it is due now."""
        if self._spoke_us is None:
            return 0
        patience_us = self._every_us * 3 // 2 if self.joins else self._every_us
        return max(0, self._spoke_us + patience_us - now_us)

    @property
    def silence_us(self) -> int:
        """How long the relay may be silent."""
        return PEER_TIMEOUT_US if self._every_us == HEARTBEAT_US else max(PEER_TIMEOUT_US, IDLE_BEATS * self._every_us)

    @property
    def _every_us(self) -> int:
        return HEARTBEAT_US if self.busy else max(HEARTBEAT_US, self._idle_us)
