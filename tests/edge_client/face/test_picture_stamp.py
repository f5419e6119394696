"""The stamp: written as blocks, read from a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.face.picture_stamp import BLOCK_PX, STAMP_BLOCKS, stamp_blocks
from edge_client.face.renderer import Picture
from tests.lab.face.read_stamp import read_stamp


def _picture_with(stamp: int) -> Picture:
    picture = np.full((40, STAMP_BLOCKS * BLOCK_PX + 20, 3), 90, np.uint8)
    for place, white in enumerate(stamp_blocks(stamp)):
        picture[-BLOCK_PX:, place * BLOCK_PX : (place + 1) * BLOCK_PX] = 255 if white else 0
    return picture


@given(st.integers(0, 2**32 - 1))
def test_what_was_written_is_read(stamp: int) -> None:
    """Every 32-bit number is read back."""
    assert read_stamp(_picture_with(stamp)) == stamp


def test_a_picture_without_a_stamp_has_none() -> None:
    """Neither a plain nor a tiny picture is mistaken for a number."""
    assert read_stamp(np.full((40, 400, 3), 90, np.uint8)) is None
    assert read_stamp(np.full((4, 4, 3), 255, np.uint8)) is None


def test_one_wrong_block_is_noticed() -> None:
    """The parity bit detects a block that was drawn over."""
    picture = _picture_with(12345)
    picture[-BLOCK_PX:, 5 * BLOCK_PX : 6 * BLOCK_PX] = 255 - picture[-BLOCK_PX:, 5 * BLOCK_PX : 6 * BLOCK_PX]
    assert read_stamp(picture) is None


@pytest.mark.parametrize("stamp", [-1, 2**32])
def test_a_number_out_of_range_is_refused(stamp: int) -> None:
    """A stamp is 0 to 2³² − 1."""
    with pytest.raises(ValueError, match="stamp"):
        stamp_blocks(stamp)
