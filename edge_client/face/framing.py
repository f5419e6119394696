"""How a picture is laid out on its screen: which part is visible, and its current offset. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_client.face.idle import MOUTH_INDEXES
from edge_client.motion.pose import Pose

SHIFT_EVERY_S = 60.0
"""Interval between two moves of a picture that wanders."""
_MOUTH, _MOUTH_AT_REST = list(MOUTH_INDEXES), 0.05
_ANGLE_STEP, _AREA_STEP = 2 * math.pi * 0.5698403, 0.7548777
"""Derived from the plastic number: together they spread positions evenly over the circle, however many there are."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Properties of the screen that the layout depends on. `is_round`: only the circle in the picture's middle is visible."""

    is_round: bool = False
    wander_px: int = 0
    """How far the picture may move from its normal position, to prevent burn-in."""

    def margins(self, size: tuple[int, int]) -> tuple[int, int]:
        """Margins without text at the sides, and above and below, in pixels: outside the square in the circle."""
        if not self.is_round:
            return 0, 0
        square = min(size) * math.sqrt(0.5)
        return round((size[0] - square) / 2), round((size[1] - square) / 2)


WHOLE = Framing()
"""The whole picture is visible and does not move."""


class Wander:
    """Moves a face by some pixels from time to time, but not while it speaks."""

    def __init__(self, framing: Framing, clock_s: Callable[[], float]) -> None:
        self._most_px = framing.wander_px
        self._clock_s = clock_s
        self.shift = (0, 0)
        """Current offset of the face from its normal position, in pixels to the right and down."""

    def moves(self, pose: Pose) -> bool:
        """Whether the face must be drawn at a new offset from now on."""
        if not self._most_px or np.abs(pose[_MOUTH]).max() > _MOUTH_AT_REST:
            return False
        step = self._clock_s() // SHIFT_EVERY_S
        far = self._most_px * math.sqrt(step * _AREA_STEP % 1.0)
        before, self.shift = self.shift, (round(far * math.cos(_ANGLE_STEP * step)), round(far * math.sin(_ANGLE_STEP * step)))
        return self.shift != before
