"""How much media may be on its way to one device: no more than its link carries in half a second. Pure.

Without this a narrow link would be filled with seconds of media by TCP and every queue behind it: nothing could be sent in time
any more, and one message could take so long that the device takes the relay for dead.

Rules
- A ping travels behind the media sent before it; its pong says that all of that came, and how long the way there was. What has
  not come so is in flight.
- Media leaves while less than the window is in flight. When half of the window is, and nobody asked yet, a ping asks.
- How long the way is by itself tells a ping with nothing in flight before it; until one is answered, all that a pong takes is waiting.
- A pong that took `LONG_US` longer than the fastest one of the stream: the window becomes what the link carried in `LONG_US`,
  within the bounds. One that was back within half of that: the window doubles, where it was used, up to `CALM_WINDOW_BYTES`;
  and up to `MAX_WINDOW_BYTES` where pongs are back within `QUICK_US`, so that a link which carries all asks less often.
- Where the relay itself is late, a slow pong says nothing of the link.
- A pong is quick where it waited less than half of `LONG_US`, and slow otherwise. The link is narrow after `NARROW_AFTER` slow ones
  in a row (one alone is a network that stood still for a moment) between which it carried less than `NARROW_BYTES_PER_S`, until
  `WIDE_AFTER` quick ones that carried more, or all there was.
- A device that answers no ping for long, whatever else it says, reads nothing: its stream is to be ended.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from avatar_relay.limits import MAX_JOINED_BYTES

FIRST_WINDOW_BYTES = 8 << 10
MIN_WINDOW_BYTES = 4 << 10
CALM_WINDOW_BYTES = 256 << 10
MAX_WINDOW_BYTES = 2 << 20
QUICK_US = 50_000
"""What is said next to a device comes about so much later for what is on its way before it."""
LONG_US = 500_000
LATE_US = 100_000
NARROW_BYTES_PER_S = 32_000
NARROW_AFTER = 2
WIDE_AFTER = 4
MESSAGES_IN_WINDOW = 4
"""A message holds at most this part of the window, so that something comes all the time; and at most `MAX_JOINED_BYTES` …"""
MESSAGES_IN_WIDE_WINDOW = 16
"""… or this part, where the window is so wide: two windows of motion travel together where that is a matter of milliseconds."""


@dataclass(frozen=True, slots=True)
class _Asked:
    ping_id: int
    sent_bytes: int
    time_us: int
    alone: bool
    """Nothing was in flight before it."""


class CongestionWindow:
    """Media on its way on one stream. Times are monotonic."""

    def __init__(self, window: int = FIRST_WINDOW_BYTES) -> None:
        self.window = window
        self._sent = 0
        self._came = 0
        self._asked: deque[_Asked] = deque()
        self._fastest_us: int | None = None
        self._slow_ones = self._quick_ones = 0
        self.is_narrow = False
        """Whether the link carries less than is to be sent."""
        self.room = 0
        """Bytes that the next message may hold; 0 if no media may leave now."""
        self._make_room()

    @property
    def wants_ping(self) -> bool:
        """Whether it is time to ask what came, as `sent` says with each message."""
        return self.sent(0)

    def next(self, now_us: int) -> CongestionWindow:
        """For the stream that follows: what was learned of the link holds, the more so where it did not even answer."""
        return CongestionWindow(MIN_WINDOW_BYTES if self.unanswered_us(now_us) > LONG_US else min(self.window, FIRST_WINDOW_BYTES))

    def unanswered_us(self, now_us: int) -> int:
        """How long the oldest ping waits for its pong."""
        return now_us - self._asked[0].time_us if self._asked else 0

    def sent(self, size: int) -> bool:
        """Media left; returns whether it is time to ask what came."""
        self._sent += size
        if self._sent - self._came >= self.window:
            self.room = 0
        asked = self._asked[-1].sent_bytes if self._asked else self._came
        return self._sent - asked >= self.window // 2

    def asked(self, ping_id: int, now_us: int) -> None:
        """A ping left. Ids rise."""
        self._asked.append(_Asked(ping_id, self._sent, now_us, self._sent == self._came))

    def answered(self, ping_id: int, now_us: int, *, late_us: int = 0) -> None:
        """A pong came; one that nobody asked for says nothing. `late_us`: how late the relay itself is."""
        if all([asked.ping_id != ping_id for asked in self._asked]):
            return
        while (asked := self._asked.popleft()).ping_id != ping_id:
            pass
        carried, self._came = asked.sent_bytes - self._came, asked.sent_bytes
        took_us = now_us - asked.time_us
        if self._fastest_us is not None:
            self._fastest_us = min(took_us, self._fastest_us)
        elif asked.alone:
            self._fastest_us = took_us
        queued_us = took_us - (self._fastest_us or 0)
        carried_little = carried < NARROW_BYTES_PER_S * took_us / 1e6
        if queued_us < LONG_US // 2:
            if carried >= self.window // 2:
                self._widen(queued_us)
            self._slow_ones = 0
            self._quick_ones += self._came == self._sent or not carried_little
        elif late_us < LATE_US:
            if queued_us >= LONG_US:
                self.window = min(self.window, max(MIN_WINDOW_BYTES, carried * LONG_US // took_us))
            self._slow_ones += carried_little
            self._quick_ones = 0
        self._make_room()
        if self._slow_ones >= NARROW_AFTER:
            self.is_narrow = True
        elif self._quick_ones >= WIDE_AFTER:
            self.is_narrow = False

    def _make_room(self) -> None:
        most = max(min(MAX_JOINED_BYTES, self.window // MESSAGES_IN_WINDOW), self.window // MESSAGES_IN_WIDE_WINDOW)
        self.room = most if self._sent - self._came < self.window else 0

    def _widen(self, queued_us: int) -> None:
        if queued_us < QUICK_US:
            self.window = min(2 * self.window, MAX_WINDOW_BYTES)
        else:
            self.window = max(self.window // 2, min(2 * self.window, CALM_WINDOW_BYTES))
