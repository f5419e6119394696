"""Mouth parameters, their weights, and the lip opening."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, MOTION_FORMAT, MOUTH_SIZE, mouth, to_weights
from tests.lab.mouth.lip_opening import lip_opening


def test_names_are_arkit_s_and_said_once() -> None:
    """Any renderer with ARKit shapes can draw the declared names."""
    assert set(BLENDSHAPE_NAMES) <= set(ARKIT_INDEX)
    assert len(set(BLENDSHAPE_NAMES)) == len(BLENDSHAPE_NAMES)
    assert MOTION_FORMAT.blendshape_names == BLENDSHAPE_NAMES


def test_both_sides_are_alike() -> None:
    """One parameter moves left and right."""
    row = to_weights(mouth(lower=0.4))
    assert row[BLENDSHAPE_NAMES.index("mouthLowerDownLeft")] == row[BLENDSHAPE_NAMES.index("mouthLowerDownRight")] == np.float32(0.4)
    assert np.count_nonzero(row) == 2


def test_weights_are_held_between_0_and_1() -> None:
    """For any analyser output."""
    row = to_weights(np.linspace(-1, 2, MOUTH_SIZE))
    assert row.min() == 0.0
    assert row.max() == 1.0


@pytest.mark.parametrize(
    ("shape", "opening"),
    [
        (mouth(), 0.0),
        (mouth(0.5), 0.5),
        (mouth(0.5, close=0.5), 0.0),
        (mouth(lower=0.5, upper=0.5), 0.3),
        (mouth(0.1, roll_lower=0.3), 0.0),
        (mouth(1.0, lower=1.0), 1.0),
    ],
)
def test_lip_opening(shape: np.ndarray[tuple[int], np.dtype[np.float64]], opening: float) -> None:
    """The opening is that of the jaw minus `mouthClose`."""
    assert lip_opening(to_weights(shape)) == pytest.approx(opening)


def test_lip_opening_of_other_columns() -> None:
    """Columns are found by name; missing ones are 0."""
    np.testing.assert_allclose(lip_opening([[0.0, 0.3], [0.2, 0.3]], ("mouthClose", "jawOpen")), [0.3, 0.1])
