"""Rows of blendshape weights in their wire format."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import weights
from avatar_relay.limits import MAX_PAYLOAD_BYTES
from avatar_relay.weights import WeightsError


@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_rows_come_back(names: int, rows: int, seed: int) -> None:
    """Written rows are read back, for any width."""
    array = np.random.default_rng(seed).random((rows, names), np.float32)
    data = weights.write(array)
    assert weights.count_keyframes(data, names) == rows
    np.testing.assert_array_equal(weights.read(data, names), array)


def test_bytes_are_little_endian_float32() -> None:
    """One row, two names: 0.5 and 1."""
    assert weights.write([[0.5, 1.0]]) == bytes.fromhex("0000003f0000803f")


@pytest.mark.parametrize(
    ("data", "names", "text"),
    [
        (b"\0" * 9, 2, "9 bytes: not whole rows of 8"),
        (b"\0" * 8, 0, "names no blendshapes"),
        (b"\0" * (MAX_PAYLOAD_BYTES + 4), 1, "at most 2097152"),
        (np.array([0, 0, np.nan, 0], "<f4").tobytes(), 2, "row 1, column 0 is not finite"),
        (np.array([0, -np.inf], "<f4").tobytes(), 2, "row 0, column 1 is not finite"),
    ],
)
def test_what_can_not_be_read_says_why(data: bytes, names: int, text: str) -> None:
    """Each fault has its own text."""
    with pytest.raises(WeightsError, match=text):
        weights.read(data, names)


def test_one_row_alone_is_not_rows() -> None:
    """A matrix is required."""
    with pytest.raises(WeightsError, match="two dimensions"):
        weights.write([1.0, 2.0])


@given(st.binary(max_size=400), st.integers(1, 60))
def test_any_bytes_never_crash(data: bytes, names: int) -> None:
    """Finite rows, or `WeightsError`."""
    with contextlib.suppress(WeightsError):
        assert np.isfinite(weights.read(data, names)).all()
