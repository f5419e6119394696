"""An eye as a picture: white, iris with its rays, pupil. Made once, so that a fragment only looks its colour up. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.colours import Colour, factor

SIZE = 256
PAINTED_IRIS: Colour = (88, 121, 125)
"""About the middle of the iris."""

_IRIS, _PUPIL = 0.435, 0.165  # of the eyeball's radius
_WHITE, _BLOODSHOT = np.array((0.95, 0.935, 0.925)), np.array((0.82, 0.70, 0.67))
_OUTER, _INNER, _RING = np.array((0.25, 0.38, 0.42)), np.array((0.44, 0.57, 0.56)), np.array((0.50, 0.44, 0.30))
_BLACK = np.full(3, 0.025)


def eye_picture(chosen: Colour | None) -> NDArray[np.uint8]:
    """The front of an eyeball as seen from straight ahead, RGB, (SIZE, SIZE, 3), row 0 at the bottom; `chosen` is the iris."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(axis, axis)
    r, turn = np.hypot(x, y), np.arctan2(y, x)
    rays = 0.5 + 0.25 * np.sin(turn * 23) + 0.25 * np.sin(turn * 37 + r * 18)
    iris = _mix(_OUTER, _INNER, rays * _step(_IRIS, _PUPIL, r))
    iris = _mix(iris, _RING, 0.7 * _step(0.29, 0.17, r)) * factor(chosen, PAINTED_IRIS)
    iris *= ((1 - 0.66 * _step(0.36, _IRIS, r)) * (1 + 0.35 * _step(0.1, -0.4, y)))[..., None]
    white = _mix(_WHITE, _BLOODSHOT, _step(0.50, 0.95, r))
    eye = _mix(_BLACK, _mix(iris, white, _step(_IRIS - 0.02, _IRIS + 0.025, r)), _step(_PUPIL - 0.015, _PUPIL + 0.025, r))
    return np.clip(np.rint(eye * 255), 0, 255).astype(np.uint8)


def _mix(one: NDArray[np.float64], other: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(one + (other - one) * part[..., None])


def _step(zero: float, one: float, value: NDArray[np.float64]) -> NDArray[np.float64]:
    part = np.clip((value - zero) / (one - zero), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))
