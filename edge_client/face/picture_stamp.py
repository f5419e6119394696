"""The stamp: a number written into the picture, for tools that read the screen from outside to measure what is shown.

A row of `STAMP_BLOCKS` square blocks, 8 by 8 pixels each, in the lower left corner: one white, one black (they distinguish a stamp from
a picture without one), 32 bits with the lowest first (white = 1), an even-parity bit, one white.
"""

from __future__ import annotations

BLOCK_PX = 8
STAMP_BITS = 32
STAMP_BLOCKS = 2 + STAMP_BITS + 2

STAMP_UNIT_US = 100
"""Unit of a stamped PTS."""


def stamp_of(pts_us: int | None) -> int:
    """The number for a picture that shows the pose of a PTS; 0 if it shows none."""
    return 0 if pts_us is None else max(0, pts_us) // STAMP_UNIT_US % ((1 << STAMP_BITS) - 1) + 1


def stamp_blocks(stamp: int) -> tuple[bool, ...]:
    """The blocks from left to right, True = white. Raises `ValueError` unless 0 <= stamp < 2³²."""
    if not 0 <= stamp < 1 << STAMP_BITS:
        raise ValueError(f"a stamp is 0 to 2^{STAMP_BITS} - 1, not {stamp}")
    bits = [bool(stamp >> place & 1) for place in range(STAMP_BITS)]
    return (True, False, *bits, sum(bits) % 2 == 1, True)
