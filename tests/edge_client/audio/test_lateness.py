"""The lateness of payloads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.lateness import WINDOW_US, Lateness

PERIOD_US = 20_000


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=200), st.integers(0, 10**12))
def test_it_is_the_largest_above_the_fastest(delays: list[int], epoch_us: int) -> None:
    """For any clocks: how far the latest payload is behind the baseline of the fastest."""
    lateness = Lateness()
    arrivals = sorted((epoch_us + index * PERIOD_US + delay, index * PERIOD_US) for index, delay in enumerate(delays))
    for arrival_us, pts_us in arrivals:
        lateness.note(arrival_us, pts_us)
    assert lateness.largest_us == max(delays) - min(delays)
    assert lateness.base_us == epoch_us + min(delays)


def test_it_is_forgotten_after_a_minute() -> None:
    """The baseline is forgotten after a minute, to the second."""
    lateness = Lateness()
    lateness.note(300_000, 0)
    for time_us in range(PERIOD_US, WINDOW_US + 2_000_001, PERIOD_US):
        lateness.note(time_us + 10_000, time_us)
        if time_us < WINDOW_US - 1_000_000:
            assert lateness.largest_us == 290_000
    assert lateness.largest_us == 0


def test_nothing_is_known_before_the_first_payload() -> None:
    """Before the first payload there is no baseline, and no lateness."""
    assert Lateness().base_us is None
    assert Lateness().largest_us == 0
