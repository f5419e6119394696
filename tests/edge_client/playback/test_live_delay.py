"""The target delay of a `LIVE` conversation."""

from __future__ import annotations

import pytest

from edge_client.playback.live_delay import MARGIN_US, MAX_BUFFER_US, MIN_BUFFER_US, LiveDelay

LATENCY_US = 20_000


@pytest.mark.parametrize(
    ("lateness_us", "buffer_us"),
    [(0, MIN_BUFFER_US), (5_000, MIN_BUFFER_US), (200_000, 200_000 + MARGIN_US), (1_000_000, MAX_BUFFER_US)],
)
def test_target_is_what_the_latest_needs_within_bounds(lateness_us: int, buffer_us: int) -> None:
    """In addition to the device's own delay, whatever that is."""
    live = LiveDelay(48_000)
    live.arrived(1_000_000, 0)
    live.arrived(1_020_000 + lateness_us, 20_000)
    assert live.target_us(LATENCY_US) == LATENCY_US + buffer_us
    assert live.target_us(0) == buffer_us


def test_delay_is_above_the_fastest_way() -> None:
    """Clocks of sender and device are unrelated; a faster payload moves the baseline."""
    live = LiveDelay(48_000)
    assert live.delay_us(5_000_000, 0) is None
    live.arrived(5_000_000, 0)
    assert live.delay_us(5_060_000, 0) == 60_000
    live.arrived(5_010_000, 20_000)
    assert live.delay_us(5_060_000, 0) == 70_000


def test_steers_towards_the_target() -> None:
    """Too much delay: faster; too little: slower."""
    for late_us, sign in ((300_000, 1), (-39_000, -1)):
        live = LiveDelay(48_000)
        live.arrived(0, 0)
        for now_us in range(0, 5_000_000, 10_000):
            live.steer(now_us, now_us - MIN_BUFFER_US - late_us, 0)
        assert live.ppm * sign > 0


def test_what_was_silent_is_owed_until_it_is_forgiven() -> None:
    """A second without sound is owed, but no longer once sound has been back for half a second; the time of a pause is never owed."""
    live = LiveDelay(48_000)
    live.arrived(0, 0)
    for now_us in range(60_000, 1_000_000, 10_000):
        live.heard(now_us, now_us - 60_000)
    live.heard(2_000_000, 930_000)
    assert live.owed_us(1_060_000) == 1_000_000
    for now_us in range(2_010_000, 2_490_000, 10_000):
        live.heard(now_us, now_us - 1_060_000)
        assert live.owed_us(1_060_000) == 1_000_000
    for now_us in range(2_490_000, 2_600_000, 10_000):
        live.heard(now_us, now_us - 1_060_000)
    assert live.owed_us(1_060_000) == 0
    live.pause()
    live.heard(9_000_000, 1_540_000)
    assert live.owed_us(7_460_000) == 0
