"""When the device pings, and how long the relay may say nothing. Pure.

Rules
- A ping every `HEARTBEAT_US`. Without a conversation it is as rare as the relay allows (`Limits.idle_heartbeat_ms`).
- A relay that takes joined messages (`Welcome.takes_joined`) gets a ping with each answer to one of its own, at the same pace, in one
  message. It is pinged in a message of its own only if its pings are late.
- A relay that says nothing for `PEER_TIMEOUT_US` is dead; without a conversation, after `IDLE_BEATS` of those rare heartbeats.
"""

from __future__ import annotations

from avatar_relay.limits import HEARTBEAT_US, IDLE_BEATS, MAX_IDLE_HEARTBEAT_US, PEER_TIMEOUT_US
from avatar_relay.messages import Ping, Welcome


class Heartbeat:
    """Of one device, over all its streams. Times are monotonic, in µs."""

    def __init__(self) -> None:
        self.busy = True
        """There may be a conversation."""
        self.joins = False
        """The relay takes several messages as one."""
        self._idle_us = 0
        self._pings = 0
        self._pinged_us: int | None = None

    def welcome(self, welcome: Welcome) -> None:
        """A stream begins."""
        self._idle_us = min(welcome.limits.idle_heartbeat_ms * 1_000, MAX_IDLE_HEARTBEAT_US)
        self.joins = welcome.takes_joined
        self._pinged_us = None

    def ping(self, now_us: int) -> Ping:
        """The next ping, which leaves now."""
        self._pings += 1
        self._pinged_us = now_us
        return Ping(self._pings, now_us)

    def wait_us(self, now_us: int) -> int:
        """How long until a ping is due that nothing else waits for; 0 if it is."""
        if self._pinged_us is None:
            return 0
        patience_us = self._every_us * 3 // 2 if self.joins else self._every_us
        return max(0, self._pinged_us + patience_us - now_us)

    @property
    def silence_us(self) -> int:
        """How long the relay may say nothing."""
        return PEER_TIMEOUT_US if self._every_us == HEARTBEAT_US else max(PEER_TIMEOUT_US, IDLE_BEATS * self._every_us)

    @property
    def _every_us(self) -> int:
        return HEARTBEAT_US if self.busy else max(HEARTBEAT_US, self._idle_us)
