"""The camera in front of the head: matrices (for column vectors), and projection of points to pixels. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

_FIELD_RAD = 0.40
_ROOM_HIGH, _ROOM_WIDE = 2.50, 2.45
"""Minimum height and width shown at the head's depth, in head units."""
_BOTTOM_Y = -1.30
"""Bottom edge of the picture at the head's depth, unless the picture is tall."""
_ABOVE_END = 0.55
"""Minimum distance from the picture's bottom edge to the end of the body, parts of which are nearer than the head."""
_LOWER = 0.55
"""Share of a tall picture's extra height that is added below."""
_ROUND = 1.12
"""Factor of extra room for a head that is shown in a circle."""
_NEAR, _FAR = 1.0, 40.0


@dataclass(frozen=True, slots=True)
class Camera:
    """Looks straight at the face, from far enough to show head and shoulders in a picture of this size."""

    width: int
    height: int
    end_y: float = -5.6
    """Height at which the body ends."""
    is_round: bool = False
    """The corners are not visible: leave more room around the head."""
    shift: tuple[int, int] = (0, 0)
    """Offset of the whole picture in pixels, to the right and down."""

    @property
    def room(self) -> float:
        """Height of the visible area at the head's depth, in head units."""
        return max(_ROOM_HIGH, _ROOM_WIDE * self.height / self.width) * (_ROUND if self.is_round else 1.0)

    @property
    def viewer(self) -> NDArray[np.float32]:
        """Position of the camera, shape (3,)."""
        lowest = min(_BOTTOM_Y, self.end_y + _ABOVE_END)
        bottom = max(lowest, _BOTTOM_Y - _LOWER * (self.room - _ROOM_HIGH))
        return np.array((0.0, bottom + self.room / 2, self.room / 2 / math.tan(_FIELD_RAD / 2)), np.float32)

    @property
    def matrix(self) -> Matrix:
        """Matrix from head units to clip space, (4, 4)."""
        focal = 1 / math.tan(_FIELD_RAD / 2)
        project = np.zeros((4, 4), np.float32)
        project[0, 0], project[1, 1] = focal * self.height / self.width, focal
        project[2, 2:] = (_FAR + _NEAR) / (_NEAR - _FAR), 2 * _FAR * _NEAR / (_NEAR - _FAR)
        project[3, 2] = -1
        view = np.eye(4, dtype=np.float32)
        view[:3, 3] = -self.viewer
        project[:2] += np.outer((2 * self.shift[0] / self.width, -2 * self.shift[1] / self.height), project[3])
        return np.asarray(project @ view)

    def pixels(self, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project points (n, 3) in head units to pixels (n, 2): x to the right, y down, integers at pixel corners."""
        clip = np.concatenate([places, np.ones((len(places), 1), np.float32)], axis=1) @ self.matrix.T
        plane = clip[:, :2] / clip[:, 3:]
        return np.asarray((plane * (0.5, -0.5) + 0.5) * (self.width, self.height), np.float32)
