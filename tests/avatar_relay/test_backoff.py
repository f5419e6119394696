"""Exponential backoff with full jitter."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.backoff import DEVICE_BACKOFF, MAX_HINT_S, STABLE_US, Attempts, BackoffPolicy, asked_to_wait_s, full_jitter


def test_ceilings_grow_up_to_the_last() -> None:
    """With the largest draw each wait equals its ceiling: it grows by the factor each time, then is constant."""
    policy = BackoffPolicy(first_s=0.1, largest_s=1.0, growth=2.0, eager_tries=0)
    assert list(islice(full_jitter(policy, lambda: 1.0), 6)) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_at_first_no_wait_is_long() -> None:
    """For as long as the relay keeps the session; after that waits grow."""
    waits = list(islice(full_jitter(DEVICE_BACKOFF, lambda: 1.0), 130))
    assert max(waits[:120]) == 0.5
    assert waits[-1] == 5.0
    assert sum(waits[:120]) / 2 == pytest.approx(30, abs=2)


def test_a_relay_that_falls_over_at_once_is_not_hammered() -> None:
    """Waits are neither short nor longer than for a relay that was just lost."""
    attempts = Attempts(DEVICE_BACKOFF, lambda: 1.0)
    attempts.lost(STABLE_US - 1)
    assert {attempts.wait_s() for _ in range(60)} == {0.5}


def test_smallest_draw_does_not_wait() -> None:
    """Full jitter starts at 0, whatever the ceiling."""
    assert list(islice(full_jitter(DEVICE_BACKOFF, lambda: 0.0), 4)) == [0.0] * 4


def test_the_next_wait_is_about_as_long_as_all_before_it() -> None:
    """A relay is therefore found again after about as long as it was away, and never later than the last ceiling."""
    waits = list(islice(full_jitter(BackoffPolicy(growth=1.5, eager_tries=0), lambda: 0.5), 12))
    for number in range(4, 10):
        assert 0.4 < waits[number] / sum(waits[:number]) < 0.8


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_waits_stay_below_their_ceiling(draws: list[float]) -> None:
    """Each wait is in [0, ceiling), and no ceiling exceeds the last one."""
    policy = BackoffPolicy(growth=1.5, eager_tries=0)
    source = iter(draws)
    ceiling = policy.first_s
    for wait in islice(full_jitter(policy, lambda: next(source)), len(draws)):
        assert 0 <= wait < ceiling
        ceiling = min(policy.largest_s, ceiling * policy.growth)


@pytest.mark.parametrize(("hints_ms", "wait_s"), [((), 0.0), ((0, 0), 0.0), ((-5,), 0.0), ((200, 400), 0.4), ((10**12, 1), MAX_HINT_S)])
def test_the_longest_hint_counts_up_to_a_bound(hints_ms: tuple[int, ...], wait_s: float) -> None:
    assert asked_to_wait_s(*hints_ms) == wait_s
