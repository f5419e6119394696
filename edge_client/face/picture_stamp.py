"""The stamp: a number written into the picture, for those who read the screen from outside to measure what is shown.

A row of `STAMP_BLOCKS` square blocks, 8 by 8 pixels each, in the lower left corner: one white, one black (they tell a stamp from
a picture without one), 32 bits with the lowest first (white = 1), an even-parity bit, one white.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 8
STAMP_BITS = 32
STAMP_BLOCKS = 2 + STAMP_BITS + 2

STAMP_UNIT_US = 100
"""A stamped PTS is told in this unit."""

_WHITE_FROM = 128
_PARITY = 2 + STAMP_BITS


def stamp_of(pts_us: int | None) -> int:
    """The number for a picture that shows the pose of a PTS; 0 for one that shows none."""
    return 0 if pts_us is None else max(0, pts_us) // STAMP_UNIT_US % ((1 << STAMP_BITS) - 1) + 1


def stamped_pts_us(stamp: int) -> int | None:
    """The PTS of `stamp_of`, to its unit."""
    return None if stamp == 0 else (stamp - 1) * STAMP_UNIT_US


def stamp_blocks(stamp: int) -> tuple[bool, ...]:
    """The blocks from left to right, True = white. Raises `ValueError` unless 0 <= stamp < 2³²."""
    if not 0 <= stamp < 1 << STAMP_BITS:
        raise ValueError(f"a stamp is 0 to 2^{STAMP_BITS} - 1, not {stamp}")
    bits = [bool(stamp >> place & 1) for place in range(STAMP_BITS)]
    return (True, False, *bits, sum(bits) % 2 == 1, True)


def read_stamp(picture: NDArray[np.uint8]) -> int | None:
    """The number in a picture (RGB, top row first); None when there is no stamp or it is damaged."""
    height, width = picture.shape[:2]
    if height < BLOCK_PX or width < STAMP_BLOCKS * BLOCK_PX:
        return None
    row = picture[height - BLOCK_PX // 2 - 1, BLOCK_PX // 2 : STAMP_BLOCKS * BLOCK_PX : BLOCK_PX, 1]
    blocks = [bool(value >= _WHITE_FROM) for value in row]
    bits = blocks[2:_PARITY]
    if not blocks[0] or blocks[1] or not blocks[-1] or blocks[_PARITY] != (sum(bits) % 2 == 1):
        return None
    return sum(bit << place for place, bit in enumerate(bits))
