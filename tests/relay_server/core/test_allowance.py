"""A long-term rate limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay_server.core.allowance import Allowance


def test_a_burst_and_then_the_rate() -> None:
    """The whole burst at once, then only what accrues over time; a refusal consumes nothing."""
    allowance = Allowance(10, 20, now_us=0)
    assert allowance.take(20, 0)
    assert not allowance.take(1, 50_000)
    assert allowance.take(1, 100_000)
    assert not allowance.take(2, 250_000)
    assert allowance.take(1, 250_000)


@given(st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(0, 300)), max_size=50))
def test_never_more_than_burst_and_rate(asked: list[tuple[int, int]]) -> None:
    """From the start to any time: at most the burst plus what the rate allows."""
    allowance, now_us, taken = Allowance(100, 200, 0), 0, 0
    for step_us, count in asked:
        now_us += step_us
        taken += count if allowance.take(count, now_us) else 0
        assert taken <= 200 + now_us * 100 / 1e6 + 1e-6
