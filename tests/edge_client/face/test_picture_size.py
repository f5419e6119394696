"""The bound on the size of pictures drawn by the CPU."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.face.picture_size import bounded

SIDES = st.integers(1, 8_192)


def test_figures() -> None:
    """Examples: 4K, a full-HD portrait panel, and sizes that are small enough."""
    assert bounded((3_840, 2_160), (1_280, 720)) == (1_280, 720)
    assert bounded((1_080, 1_920), (1_280, 720)) == (720, 1_280)
    assert bounded((800, 480), (1_280, 720)) == (800, 480)
    assert bounded((3_840, 2_160), None) == (3_840, 2_160)


@given(SIDES, SIDES, SIDES, SIDES)
def test_no_more_pixels_and_the_same_shape(width: int, height: int, most_wide: int, most_high: int) -> None:
    """For any window size, the pixels are bounded and the shape is kept."""
    found = bounded((width, height), (most_wide, most_high))
    assert min(found) >= 1
    assert found[0] * found[1] <= max(most_wide * most_high, *found)
    assert found[0] <= width and found[1] <= height
    if min(found) > 100:
        assert abs(found[0] / found[1] / (width / height) - 1) < 0.02
