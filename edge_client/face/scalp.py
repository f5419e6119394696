"""The surface that hair lies on: a superellipsoid fitted to a head, upright below its middle. Pure numpy.

Positions on it are given on a plane, as if it were unrolled from the crown: the direction from the origin is the turn from the front
(y is forward, x is to the left as in a pose), the distance is 0 at the crown, 1 at the middle, and more below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.face.head import Head

Points = NDArray[np.float64]

MIDDLE_Y = 0.15
"""Height at which the dome ends and the upright part begins, in head units."""
DROP = 1.45
"""Height of the upright part for each unit of the plane."""
_POWER = 2.4
_TURNS, _ROWS = 13, np.array((0.0, 0.25, 0.5, 0.75, 0.95, 1.15, 1.30, 1.42, 1.55, 1.75))
_EAR = (0.55, 0.12, (-1.0, -0.35))


@dataclass(frozen=True, slots=True)
class Scalp:
    """A fitted scalp, the same on both sides."""

    radii: Points
    """(3,): across, up, and forward."""
    centre_z: float
    sizes: Points
    """(rows, turns): the head's true distance from the axis, as a factor on the superellipsoid's."""

    @classmethod
    def of(cls, head: Head) -> Scalp:
        """Fit the scalp to skull, hair that is painted on it, and neck; ears are left out."""
        points = head.points.astype(float)
        top = points[:, 1].max()
        band = points[(np.abs(points[:, 1] - 0.22) < 0.12) & (points[:, 2] > -1.9)]
        back, front = band[:, 2].min(), band[:, 2].max()
        radii = np.array((band[:, 0].max(), top - MIDDLE_Y, (front - back) / 2))
        fitted = cls(radii, (front + back) / 2, np.ones((len(_ROWS), _TURNS)))
        wide, low, deep = _EAR
        is_ear = (np.abs(points[:, 0]) > wide) & (points[:, 1] < low) & (points[:, 2] > deep[0]) & (points[:, 2] < deep[1])
        return cls(radii, fitted.centre_z, _sizes(fitted, points[~is_ear & (points[:, 1] > -1.0)]))

    def place(self, plane: Points, lift: Points, hug: float) -> Points:
        """Positions in space, (…, 3), of positions on the plane, (…, 2), `lift` above the surface.

        `hug`: how closely the upright part follows the neck, from 0 (it hangs straight down) to 1.
        """
        turn, far = np.arctan2(plane[..., 0], plane[..., 1]), np.hypot(plane[..., 0], plane[..., 1])
        flat, up = _dome(far)
        size = self._size(turn, far)
        below = np.clip((far - 0.95) / 0.25, 0, 1)
        size = size + (1 - hug) * below * (self._size(turn, np.full_like(far, 0.95)) - size)
        out = flat * size * (1 + lift / self.radii[0])
        y = np.where(far < 1, MIDDLE_Y + self.radii[1] * up * size + lift * up, MIDDLE_Y - DROP * (far - 1))
        return np.stack([self.radii[0] * out * np.sin(turn), y, self.centre_z + self.radii[2] * out * np.cos(turn)], axis=-1)

    def far_at(self, turn: Points, height: Points) -> Points:
        """The distance on the plane at which the surface has a height, for each turn."""
        steps = np.linspace(0, 1, 41)
        upright = 1 + (MIDDLE_Y - height) / DROP
        _, up = _dome(steps)
        dome = MIDDLE_Y + self.radii[1] * up * self._size(*np.broadcast_arrays(turn[:, None], steps))
        found = [np.interp(-y, -heights, steps) for y, heights in zip(height, dome, strict=True)]
        return np.where(height < MIDDLE_Y, upright, np.array(found))

    def _size(self, turn: Points, far: Points) -> Points:
        column = np.abs(turn) / np.pi * (_TURNS - 1)
        row = np.interp(far, _ROWS, np.arange(len(_ROWS)))
        left, low = np.minimum(column.astype(int), _TURNS - 2), np.minimum(row.astype(int), len(_ROWS) - 2)
        a, b = column - left, row - low
        upper = self.sizes[low, left] * (1 - a) + self.sizes[low, left + 1] * a
        return np.asarray(upper * (1 - b) + (self.sizes[low + 1, left] * (1 - a) + self.sizes[low + 1, left + 1] * a) * b)


def _dome(far: Points) -> tuple[Points, Points]:
    """Distance from the axis and height on the unit superellipse."""
    lean = np.minimum(far, 1.0) * (np.pi / 2)
    flat, up = np.sin(lean), np.cos(lean)
    size = (flat**_POWER + np.abs(up) ** _POWER) ** (-1 / _POWER)
    return flat * size, up * size


def _sizes(scalp: Scalp, points: Points) -> Points:
    part = (points - (0.0, MIDDLE_Y, scalp.centre_z)) / scalp.radii
    turn = np.arctan2(np.abs(points[:, 0]), points[:, 2] - scalp.centre_z)
    flat, up = np.hypot(part[:, 0], part[:, 2]), np.maximum(part[:, 1], 0.0)
    far = np.where(points[:, 1] > MIDDLE_Y, np.arctan2(flat, up) / (np.pi / 2), 1 + (MIDDLE_Y - points[:, 1]) / DROP)
    size = (flat**_POWER + up**_POWER) ** (1 / _POWER)
    found = np.ones((len(_ROWS), _TURNS))
    reach = np.interp(_ROWS, (0.95, 1.3), (0.10, 0.05))  # the nape is far narrower than the skull just above it
    nears = np.zeros((*found.shape, len(points)))
    for row, middle in enumerate(_ROWS):
        for column, angle in enumerate(np.linspace(0, np.pi, _TURNS)):
            # the outermost of what is near, by a soft mean, so that no single vertex makes a bump
            near = np.exp(-(((far - middle) / reach[row]) ** 2) - ((turn - angle) * min(1.0, middle + 0.15) / 0.20) ** 2)
            weight = near * size**24
            found[row, column] = (weight * size).sum() / weight.sum() if near.sum() > 0.3 else found[max(row - 1, 0), column]
            nears[row, column] = near
    pokes = size / replace(scalp, sizes=found)._size(turn, far)  # nothing may look through the hair
    return np.asarray(found * np.where(nears > 0.3, pokes, 1.0).max(-1, initial=1.0))
