"""How a picture is laid out on its screen: what of it can be seen, and where it stands now. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_client.face.idle import MOUTH_INDEXES
from edge_client.motion.pose import Pose

SHIFT_EVERY_S = 60.0
"""A picture that wanders stands still for so long."""
_MOUTH, _MOUTH_AT_REST = list(MOUTH_INDEXES), 0.05
_ANGLE_STEP, _AREA_STEP = 2 * math.pi * 0.5698403, 0.7548777
"""Of the plastic number: together they spread places evenly over the circle, however many there are."""


@dataclass(frozen=True, slots=True)
class Framing:
    """What is laid out for. `is_round`: only the circle in the picture's middle is seen."""

    is_round: bool = False
    wander_px: int = 0
    """How far the picture wanders from its place, so that nothing burns in."""

    def margins(self, size: tuple[int, int]) -> tuple[int, int]:
        """What is not for words on the left and right, and above and below, in pixels: outside the square in the circle."""
        if not self.is_round:
            return 0, 0
        square = min(size) * math.sqrt(0.5)
        return round((size[0] - square) / 2), round((size[1] - square) / 2)


WHOLE = Framing()
"""All of a picture is seen, and it stands still."""


class Wander:
    """Moves a face by some pixels from time to time, but not while it speaks."""

    def __init__(self, framing: Framing, clock_s: Callable[[], float]) -> None:
        self._most_px = framing.wander_px
        self._clock_s = clock_s
        self.shift = (0, 0)
        """Where the face stands now, in pixels to the right and down from its place."""

    def moves(self, pose: Pose) -> bool:
        """Whether it is to be drawn in another place from now on."""
        if not self._most_px or np.abs(pose[_MOUTH]).max() > _MOUTH_AT_REST:
            return False
        step = self._clock_s() // SHIFT_EVERY_S
        far = self._most_px * math.sqrt(step * _AREA_STEP % 1.0)
        before, self.shift = self.shift, (round(far * math.cos(_ANGLE_STEP * step)), round(far * math.sin(_ANGLE_STEP * step)))
        return self.shift != before
