"""Placement of keyframes by their time codes on a regular grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.sources.audio2face.keyframes import MAX_BEYOND_S, MAX_GAP_S, KeyframeError, KeyframeLine

LONG_S = 1_000.0


def row(*weights: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A row of weights."""
    return np.array(weights, np.float32)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.floats(-0.4, 0.4), st.sampled_from([24.0, 29.97, 30.0, 60.0]))
def test_each_keyframe_is_the_row_of_its_time(gaps: list[int], jitter: float, rate: float) -> None:
    """Holds for missing keyframes and slightly irregular times: rows are unchanged, and gaps have no missing rows."""
    indices = [index + total for index, total in enumerate(np.cumsum(gaps).tolist())]
    values = np.random.default_rng(1).random(len(indices)).astype(np.float32)
    line = KeyframeLine(rate, 1)
    rows = [line.push(max(0.0, (index + jitter) / rate), row(value), LONG_S) for index, value in zip(indices, values, strict=True)]
    joined = np.concatenate(rows)[:, 0]
    assert len(joined) == line.rows == indices[-1] + 1
    assert line.filled == line.rows - len(indices)
    np.testing.assert_array_equal(joined[indices], values)
    assert joined.min() >= values.min() - 1e-6
    assert joined.max() <= values.max() + 1e-6


def test_gap_is_filled_on_a_line() -> None:
    """Half of the difference is reached halfway."""
    line = KeyframeLine(10.0, 2)
    line.push(0.0, row(0.0, 1.0), LONG_S)
    np.testing.assert_allclose(line.push(0.4, row(1.0, 0.0), LONG_S)[:, 0], [0.25, 0.5, 0.75, 1.0])


def test_late_first_keyframe_stands_from_the_start() -> None:
    """There is no earlier row to interpolate from."""
    np.testing.assert_array_equal(KeyframeLine(10.0, 1).push(0.2, row(0.5), LONG_S)[:, 0], [0.5, 0.5, 0.5])


def test_second_keyframe_of_a_row_is_passed_over() -> None:
    """A service faster than the grid loses keyframes without a grid position; these are counted."""
    line = KeyframeLine(10.0, 1)
    assert [len(line.push(time_s, row(0.5), LONG_S)) for time_s in (0.0, 0.04, 0.1, 0.12)] == [1, 0, 1, 0]
    assert line.passed_over == 2


def test_hold() -> None:
    """The last row is repeated up to a maximum length; nothing if there is none."""
    line = KeyframeLine(10.0, 1)
    assert line.hold(5).shape == (0, 1)
    line.push(0.0, row(0.5), LONG_S)
    np.testing.assert_array_equal(line.hold(3)[:, 0], [0.5, 0.5])
    assert len(line.hold(2)) == 0
    assert line.rows == 3


@pytest.mark.parametrize(
    ("time_s", "weights", "text"),
    [
        (math.nan, row(0.5), "time code nan"),
        (math.inf, row(0.5), "time code inf"),
        (-0.1, row(0.5), "time code -0.1"),
        (0.0, row(0.5), "time goes back from 0.000 s to 0.000 s"),
        (0.1, row(0.5, 0.5), "2 weights for 1 names"),
        (0.1, row(), "0 weights for 1 names"),
        (0.1, row(math.nan), "weight 0 at 0.100 s is not finite"),
        (0.1, row(-math.inf), "weight 0 at 0.100 s is not finite"),
        (0.1 + MAX_GAP_S + 0.01, row(0.5), "no keyframes from 0.100 s"),
        (2.0 + MAX_BEYOND_S + 0.01, row(0.5), "for sound of 2.000 s"),
    ],
)
def test_what_can_not_be_used(time_s: float, weights: np.ndarray[tuple[int], np.dtype[np.float32]], text: str) -> None:
    """The fault is reported, and nothing changes."""
    line = KeyframeLine(10.0, 1)
    line.push(0.0, row(0.5), 2.0)
    with pytest.raises(KeyframeError, match=text):
        line.push(time_s, weights, 2.0)
    assert line.rows == 1
