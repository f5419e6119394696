"""Reads the stamp that `edge_client.face.picture_stamp` writes into a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.face.picture_stamp import BLOCK_PX, STAMP_BITS, STAMP_BLOCKS, STAMP_UNIT_US

_WHITE_FROM = 128
_PARITY = 2 + STAMP_BITS


def stamped_pts_us(stamp: int) -> int | None:
    """The PTS encoded by `stamp_of`, to the resolution of the stamp."""
    return None if stamp == 0 else (stamp - 1) * STAMP_UNIT_US


def read_stamp(picture: NDArray[np.uint8]) -> int | None:
    """The number in a picture (RGB, top row first); None if there is no stamp or it is damaged."""
    height, width = picture.shape[:2]
    if height < BLOCK_PX or width < STAMP_BLOCKS * BLOCK_PX:
        return None
    row = picture[height - BLOCK_PX // 2 - 1, BLOCK_PX // 2 : STAMP_BLOCKS * BLOCK_PX : BLOCK_PX, 1]
    blocks = [bool(value >= _WHITE_FROM) for value in row]
    bits = blocks[2:_PARITY]
    if not blocks[0] or blocks[1] or not blocks[-1] or blocks[_PARITY] != (sum(bits) % 2 == 1):
        return None
    return sum(bit << place for place, bit in enumerate(bits))
