"""The amount of data in flight to a device, by the capacity of its link."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest

from avatar_relay.limits import MAX_JOINED_BYTES
from relay_server.core.congestion import (
    CALM_WINDOW_BYTES,
    FIRST_WINDOW_BYTES,
    LONG_US,
    MAX_WINDOW_BYTES,
    MIN_WINDOW_BYTES,
    QUICK_US,
    CongestionWindow,
)

MS = 1_000


@dataclass
class Link:
    """A link with a rate, a delay and an unbounded queue, and a device that answers pings at once."""

    bytes_per_s: float
    delay_us: int = 20 * MS
    flight: CongestionWindow = field(default_factory=CongestionWindow)
    now_us: int = 0
    carried: int = 0
    longest_us: int = 0
    largest: int = 0
    _free_us: float = 0.0
    _pings: int = 0
    _on_the_way: deque[tuple[float, int]] = field(default_factory=deque)

    def run(self, seconds: float, offered_bytes_per_s: float = 1e9) -> None:
        """Send as much as is offered and admitted, with a heartbeat each second."""
        end_us, offered = self.now_us + round(seconds * 1e6), 0.0
        if not self._pings:
            self._ping()
        while self.now_us < end_us:
            self.now_us += MS
            offered = min(offered + offered_bytes_per_s / 1e3, 1e6)
            while self._on_the_way and self._on_the_way[0][0] <= self.now_us:
                self.flight.answered(self._on_the_way.popleft()[1], self.now_us)
            while (room := min(self.flight.room, int(offered))) > 0:
                offered -= room
                self.largest = max(self.largest, room)
                self.flight.sent(room)
                self.carried += room
                self._free_us = max(self._free_us, self.now_us) + room / self.bytes_per_s * 1e6
                self.longest_us = max(self.longest_us, round(self._free_us - self.now_us))
                if self.flight.wants_ping:
                    self._ping()
            if self.now_us % (1_000 * MS) == 0:
                self._ping()

    def _ping(self) -> None:
        self._pings += 1
        self.flight.asked(self._pings, self.now_us)
        self._on_the_way.append((max(self._free_us, self.now_us) + 2 * self.delay_us, self._pings))


def test_a_wide_link_is_used() -> None:
    """The window reaches its maximum within a second, and the link does not count as narrow."""
    link = Link(bytes_per_s=100e6)
    link.run(1.0)
    assert link.flight.window == MAX_WINDOW_BYTES
    assert link.largest == 2 * MAX_JOINED_BYTES
    link.carried = 0
    link.run(1.0)
    assert link.carried > 15e6
    assert not link.flight.is_narrow


@pytest.mark.parametrize(("queued_us", "windows"), [(QUICK_US - 1, [8, 32, 128, 256, 512]), (QUICK_US, [8, 16, 32, 64, 128, 256, 256])])
def test_a_window_that_is_used_grows(queued_us: int, windows: list[int]) -> None:
    """Four-fold up to 256 KB if the pong is quick, else two-fold."""
    flight = CongestionWindow()
    flight.asked(1, 0)
    flight.answered(1, 10 * MS)
    for number, window in enumerate(windows, 2):
        assert flight.window == window << 10
        flight.sent(flight.window // 2)
        flight.asked(number, number * 1_000 * MS)
        flight.answered(number, (number * 1_000 + 10) * MS + queued_us)


@pytest.mark.parametrize("bytes_per_s", [1e6, 3e6, 10e6])
def test_a_link_that_carries_all_is_not_filled(bytes_per_s: float) -> None:
    """If media delays the pongs, the amount in flight does not grow: an interrupt must arrive soon."""
    link = Link(bytes_per_s=bytes_per_s)
    link.run(2.0)
    link.carried, link.longest_us = 0, 0
    link.run(5.0)
    assert link.carried > 0.5 * 5 * bytes_per_s
    assert link.largest <= 2 * MAX_JOINED_BYTES
    assert link.longest_us <= max(CALM_WINDOW_BYTES / bytes_per_s * 1e6, 4 * QUICK_US)


@pytest.mark.parametrize("bytes_per_s", [4_000, 8_000, 16_000])
def test_a_narrow_link_is_used_and_not_filled(bytes_per_s: int) -> None:
    """At most one second of data queues in front of the link, and it is never idle."""
    link = Link(bytes_per_s)
    link.run(10.0)
    assert link.flight.is_narrow
    link.carried, link.longest_us = 0, 0
    link.run(20.0)
    assert link.carried > 0.9 * 20 * bytes_per_s
    assert link.longest_us < 1_300 * MS


def test_a_link_that_collapses_and_widens_again() -> None:
    """The previous rate is soon forgotten, in both directions."""
    link = Link(bytes_per_s=1e6)
    link.run(2.0)
    link.bytes_per_s = 8_000
    link.run(60.0)
    assert link.flight.is_narrow
    assert link.flight.window <= 2 * MIN_WINDOW_BYTES
    link.bytes_per_s = 1e6
    link.run(5.0)
    assert not link.flight.is_narrow
    assert link.flight.window >= 64 << 10


def test_speech_in_real_time_is_not_held_up() -> None:
    """Below the link's capacity the window is never used up."""
    link = Link(bytes_per_s=100_000)
    link.run(20.0, offered_bytes_per_s=40_000)
    assert link.carried == pytest.approx(800_000, rel=0.01)
    assert not link.flight.is_narrow


def test_a_link_that_was_never_seen_empty_is_not_thought_quick() -> None:
    """Media before the first ping: the delay of its pong counts as the link's queue, not as propagation delay."""
    flight = CongestionWindow()
    flight.sent(6_000)
    flight.asked(1, 0)
    flight.answered(1, 1_500 * MS)
    assert flight.window == MIN_WINDOW_BYTES
    flight.asked(2, 1_600 * MS)
    flight.answered(2, 1_640 * MS)
    flight.sent(3_000)
    flight.asked(3, 1_700 * MS)
    flight.answered(3, 1_760 * MS)
    assert flight.window > MIN_WINDOW_BYTES


def test_one_slow_answer_is_not_a_narrow_link() -> None:
    """A network that stalls briefly does not count as a narrow link."""
    flight = CongestionWindow()
    flight.asked(1, 0)
    flight.answered(1, 20 * MS)
    flight.sent(4_000)
    flight.asked(2, 100 * MS)
    flight.answered(2, 1_100 * MS)
    assert not flight.is_narrow


def test_one_interruption_is_not_a_narrow_link() -> None:
    """Not even if it delays several pings; a later one is."""
    flight = CongestionWindow()
    flight.asked(1, 0)
    flight.answered(1, 20 * MS)
    for ping in (2, 3, 4):
        flight.sent(1_000)
        flight.asked(ping, ping * 100 * MS)
    for ping in (2, 3, 4):
        flight.answered(ping, 1_000 * MS + ping)
    assert not flight.is_narrow
    flight.sent(1_000)
    flight.asked(5, 1_100 * MS)
    flight.answered(5, 1_900 * MS)
    assert flight.is_narrow


def test_a_slow_answer_that_confirms_no_media_does_not_count() -> None:
    """Heartbeats of a quiet stream, delayed by one interruption, say nothing about what the link can carry."""
    flight = CongestionWindow()
    flight.asked(1, 0)
    flight.answered(1, 20 * MS)
    flight.sent(1_000)
    flight.asked(2, 100 * MS)
    flight.asked(3, 600 * MS)
    flight.answered(2, 1_200 * MS)
    flight.answered(3, 1_230 * MS)
    assert not flight.is_narrow


@pytest.mark.parametrize(("offered_bytes_per_s", "found_s"), [(9_100, 4.0), (13_700, 2.0), (100_000, 1.5), (1e9, 1.5)])
def test_a_narrow_link_is_found(offered_bytes_per_s: float, found_s: float) -> None:
    """Soon, the more the media exceeds what a link of 64 kbit/s carries."""
    link = Link(8_000)
    link.run(found_s, offered_bytes_per_s)
    assert link.flight.is_narrow


def test_a_relay_that_is_late_does_not_blame_the_link() -> None:
    """Holds however slow the pongs are."""
    flight = CongestionWindow()
    for number in range(10):
        flight.sent(4_000)
        flight.asked(number, number * 1_000 * MS)
        flight.answered(number, number * 1_000 * MS + (900 * MS if number else 20 * MS), late_us=200 * MS)
    assert not flight.is_narrow
    assert flight.window >= FIRST_WINDOW_BYTES


def test_a_pong_that_nobody_asked_for_says_nothing() -> None:
    """Otherwise a device could claim that everything had arrived."""
    flight = CongestionWindow()
    flight.sent(FIRST_WINDOW_BYTES)
    flight.asked(1, 0)
    flight.answered(7, 1)
    assert flight.room == 0
    assert flight.unanswered_us(5_000 * MS) == 5_000 * MS
    flight.answered(1, 2)
    assert flight.room > 0


def test_what_was_learned_holds_for_the_next_stream() -> None:
    """Holds even more if the link did not answer at all."""
    flight = CongestionWindow()
    assert flight.next(0).window == FIRST_WINDOW_BYTES
    flight.window = 2 * MIN_WINDOW_BYTES
    assert flight.next(0).window == 2 * MIN_WINDOW_BYTES
    flight.asked(1, 0)
    assert flight.next(LONG_US + 1).window == MIN_WINDOW_BYTES
