"""Congestion window: limits media in flight to one device to what its link carries in half a second. Pure.

Without it, TCP and the queues behind it would buffer seconds of media on a narrow link: nothing urgent could be sent in time,
and one message could take so long that the device considers the relay dead.

Rules
- A ping follows the media sent before it; its pong confirms that media, and gives the round-trip time. Unconfirmed media is
  in flight.
- Media is sent while less than the window is in flight. A ping is sent when half of the window is in flight after the last ping.
- A ping with nothing in flight before it measures the base round-trip time; until one is answered, all of a pong's time counts as queueing.
- If a pong took `LONG_US` longer than the fastest one of the stream, the window becomes the bytes that the link carried in `LONG_US`,
  within the bounds. If it took less than half of that, and the window was used, the window doubles, up to `CALM_WINDOW_BYTES`.
  Within `QUICK_US` it quadruples up to there, as half a window in so short a time is at least five windows in half a second, and
  doubles up to `MAX_WINDOW_BYTES`, so that fast links are probed less often.
- If the relay itself is late, a slow pong is not attributed to the link.
- A pong is quick if it was queued for less than half of `LONG_US`, otherwise slow. The link is narrow after `NARROW_AFTER` slow ones
  in a row, each of which confirmed media, but less than `NARROW_BYTES_PER_S` since the pong before. A single one may be a short
  interruption: pongs that it delayed arrive together, so only the first counts.
- The link is no longer narrow after `WIDE_AFTER` quick pongs that carried more, or confirmed everything sent.
- A device that answers no ping for a long time is not reading, whatever else it sends: its stream must be ended.
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
"""Queueing delay below which the window may grow to `MAX_WINDOW_BYTES`. The next message is delayed by about this much."""
LONG_US = 500_000
LATE_US = 100_000
NARROW_BYTES_PER_S = 32_000
NARROW_AFTER = 2
WIDE_AFTER = 4
MESSAGES_IN_WINDOW = 4
"""A message holds at most the window divided by this, for a steady flow, and at most `MAX_JOINED_BYTES` …"""
MESSAGES_IN_WIDE_WINDOW = 16
"""… or the window divided by this, if that is more: on a fast link, larger messages take only milliseconds."""


@dataclass(frozen=True, slots=True)
class _Asked:
    ping_id: int
    sent_bytes: int
    time_us: int
    alone: bool
    """Whether nothing was in flight before it."""


class CongestionWindow:
    """Media in flight on one stream. Times are monotonic, in µs."""

    def __init__(self, window: int = FIRST_WINDOW_BYTES) -> None:
        self.window = window
        self._sent = 0
        self._came = 0
        self._asked: deque[_Asked] = deque()
        self._fastest_us: int | None = None
        self._answered_us: int | None = None
        """When the last pong arrived."""
        self._slow_ones = self._quick_ones = 0
        self.is_narrow = False
        """Whether the link is too slow for the media; see the rules."""
        self.room = 0
        """Bytes of media that the next message may hold; 0 if no media may be sent now."""
        self._full_at = self._ping_at = 0
        """`_sent` at which the window is full, and a ping is due."""
        self._make_room()

    @property
    def wants_ping(self) -> bool:
        """Whether a ping is due; see `sent`."""
        return self.sent(0)

    def next(self, now_us: int) -> CongestionWindow:
        """The initial window of the next stream: the minimum if a ping was unanswered for `LONG_US`, else at most the first window."""
        return CongestionWindow(MIN_WINDOW_BYTES if self.unanswered_us(now_us) > LONG_US else min(self.window, FIRST_WINDOW_BYTES))

    def unanswered_us(self, now_us: int) -> int:
        """How long the oldest ping has waited for its pong, in µs; 0 if there is none."""
        return now_us - self._asked[0].time_us if self._asked else 0

    def sent(self, size: int) -> bool:
        """Record `size` bytes of sent media; returns whether a ping is due."""
        sent = self._sent = self._sent + size
        if sent >= self._full_at:
            self.room = 0
        return sent >= self._ping_at

    def asked(self, ping_id: int, now_us: int) -> None:
        """Record a sent ping. Ids must increase."""
        self._asked.append(_Asked(ping_id, self._sent, now_us, self._sent == self._came))
        self._ping_at = self._sent + self.window // 2

    def answered(self, ping_id: int, now_us: int, *, late_us: int = 0) -> None:
        """Handle a pong; one without a matching ping is ignored. `late_us`: how late the relay itself is."""
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
        since_us = took_us if self._answered_us is None else now_us - self._answered_us
        self._answered_us = now_us
        if queued_us < LONG_US // 2:
            if carried >= self.window // 2:
                self._widen(queued_us)
            self._slow_ones = 0
            self._quick_ones += self._came == self._sent or carried * 1_000_000 >= NARROW_BYTES_PER_S * took_us
        elif late_us < LATE_US:
            if queued_us >= LONG_US:
                self.window = min(self.window, max(MIN_WINDOW_BYTES, carried * LONG_US // took_us))
            self._slow_ones += 0 < carried * 1_000_000 < NARROW_BYTES_PER_S * since_us
            self._quick_ones = 0
        self._make_room()
        if self._slow_ones >= NARROW_AFTER:
            self.is_narrow = True
        elif self._quick_ones >= WIDE_AFTER:
            self.is_narrow = False

    def _make_room(self) -> None:
        most = max(min(MAX_JOINED_BYTES, self.window // MESSAGES_IN_WINDOW), self.window // MESSAGES_IN_WIDE_WINDOW)
        self._full_at = self._came + self.window
        self.room = most if self._sent < self._full_at else 0
        self._ping_at = (self._asked[-1].sent_bytes if self._asked else self._came) + self.window // 2

    def _widen(self, queued_us: int) -> None:
        if queued_us < QUICK_US:
            self.window = max(min(4 * self.window, CALM_WINDOW_BYTES), min(2 * self.window, MAX_WINDOW_BYTES))
        else:
            self.window = max(self.window // 2, min(2 * self.window, CALM_WINDOW_BYTES))
