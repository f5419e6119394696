"""The keyframe rate inferred from time codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.sources.audio2face.keyframe_rate import TIME_CODES, disagree, rate_of

RATES = [23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 90.0]


@given(st.sampled_from(RATES), st.floats(0, 200))
def test_exact_time_codes(rate: float, start_s: float) -> None:
    """Inferred from any part of the speech."""
    assert rate_of([start_s + index / rate for index in range(TIME_CODES)]) == rate


@given(st.sampled_from([24.0, 25.0, 30.0, 50.0, 60.0]), st.integers(0, 5_000))
def test_time_codes_in_milliseconds(rate: float, first: int) -> None:
    """Rounds to the integer rate."""
    assert rate_of([round((first + index) / rate, 3) for index in range(TIME_CODES)]) == rate


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        ([], None),
        ([1.0], None),
        ([1.0, 1.0, 0.5], None),
        ([0.0, 0.001], None),
        ([0.0, 5.0], None),
        ([0.0, 1 / 7], pytest.approx(7.0)),
        ([0.0, 1 / 30, 2 / 30, 0.9], 30.0),
        ([0.0, 1 / 30, 3 / 30, 4 / 30], 30.0),
    ],
)
def test_odd_time_codes(times: list[float], rate: float | None) -> None:
    """None, decreasing, too dense, too sparse, unusual, jumping, one missing."""
    assert rate_of(times) == rate


@pytest.mark.parametrize(
    ("declared", "seen", "differ"), [(30.0, 29.97, False), (30.0, 60.0, True), (30.0, 24.0, True), (25.0, 24.0, False)]
)
def test_rates_that_disagree(declared: float, seen: float, differ: bool) -> None:
    assert disagree(declared, seen) == differ
