"""An eye as a picture: white with veins, iris with fibres, pupil. Made once, so that a fragment only looks up its colour. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.colours import Colour, factor

SIZE = 256
"""The iris is then 110 texels wide, and some 70 pixels in a picture of 1080 lines. Twice as many would cost 0.4 s of each start."""
PAINTED_IRIS: Colour = (88, 121, 125)
"""Approximate colour at the middle of the iris."""

_IRIS, _PUPIL = 0.435, 0.160  # fractions of the eyeball's radius
_COLLAR = 0.245
"""Mean radius of the ragged line at which the inner part of the iris ends."""
_WHITE, _AT_CORNERS, _VEIN = np.array((0.905, 0.885, 0.875)), np.array((0.80, 0.675, 0.640)), np.array((0.72, 0.36, 0.33))
_OUTER, _INNER, _FIBRE, _AMBER = (
    np.array(colour) for colour in ((0.185, 0.315, 0.365), (0.330, 0.470, 0.485), (0.600, 0.715, 0.690), (0.560, 0.455, 0.275))
)
_BLACK, _RING = np.full(3, 0.018), np.array((0.055, 0.085, 0.105))

_Picture = NDArray[np.float64]


def eye_picture(chosen: Colour | None) -> NDArray[np.uint8]:
    """The front of an eyeball seen from straight ahead, RGB, (SIZE, SIZE, 3), row 0 at the bottom. `chosen`: the colour of the iris."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(axis, axis)
    r, turn = np.hypot(x, y), np.arctan2(y, x) / (2 * np.pi)
    part = np.clip((r - _PUPIL) / (_IRIS - _PUPIL), 0, 1)  # fraction of the way across the iris
    bend = turn + 0.012 * (_cloud(turn, part, 14, 3, 1) - 0.5)
    fibres = 0.55 * _cloud(bend, part, 90, 2, 2) + 0.45 * _cloud(bend, part, 170, 3, 3)
    strands = _step(0.52, 0.86, fibres)
    iris = _mix(_OUTER, _INNER, np.clip(1.15 * (1 - part) + 0.7 * (fibres - 0.5), 0, 1))
    iris = _mix(iris, _FIBRE, 0.62 * strands * _step(1.0, 0.35, part))
    iris = iris * (1 - 0.38 * _step(0.46, 0.20, fibres) * _step(0.05, 0.5, part))[..., None]
    crypts = _step(0.66, 0.82, _cloud(bend, part, 22, 4, 4)) * _step(0.28, 0.42, part) * _step(0.95, 0.6, part)
    iris = iris * (1 - 0.34 * crypts)[..., None]
    collar = r - _COLLAR - 0.020 * (_cloud(turn, np.zeros_like(r), 26, 1, 5) - 0.5)
    iris = _mix(iris, _AMBER, 0.62 * _step(0.035, -0.035, collar) * (0.55 + 0.6 * fibres))
    iris = iris * (1 + 0.24 * np.exp(-((collar / 0.012) ** 2)))[..., None] * factor(chosen, PAINTED_IRIS)
    iris = _mix(iris, _RING, 0.86 * _step(0.350, _IRIS + 0.004, r) ** 1.4)
    iris = iris * (1 - 0.55 * _step(_PUPIL + 0.032, _PUPIL, r))[..., None]
    eye = _mix(iris, _white(x, y, r), _step(_IRIS - 0.030, _IRIS + 0.038, r))
    eye = _mix(_BLACK, eye, _step(_PUPIL - 0.010, _PUPIL + 0.012, r))
    return np.clip(np.rint(eye * 255), 0, 255).astype(np.uint8)


def _white(x: _Picture, y: _Picture, r: _Picture) -> _Picture:
    """The white of the eye: redder towards the corners, with veins that start there."""
    white = _mix(_WHITE, _AT_CORNERS, _step(0.52, 0.98, r))
    wave = 0.10 * _cloud(x * 0.5 + 0.5, y * 0.5 + 0.5, 9, 9, 6) + 0.05 * _cloud(x * 0.5 + 0.5, y * 0.5 + 0.5, 23, 23, 7)
    ridge = np.abs(_cloud(x * 0.5 + 0.5, y * 0.5 + 0.5 + wave, 5, 15, 8) - 0.5)
    veins = _step(0.045, 0.0, ridge) * _step(0.52, 0.85, np.abs(x)) * _step(0.25, 0.7, _cloud(x * 0.5 + 0.5, y * 0.5 + 0.5, 7, 7, 9))
    return _mix(white, _VEIN, 0.30 * veins)


def _cloud(around: _Picture, out: _Picture, cells: int, rings: int, voice: int) -> _Picture:
    """Soft noise, 0 to 1: `cells` bumps per unit of `around`, which closes without a seam, and `rings` per unit of `out`."""
    chance = np.random.default_rng(voice).random((rings + 2, cells))
    across, up = (around % 1.0) * cells, np.clip(out, 0, 1) * rings
    column, row = across.astype(int), up.astype(int)
    s, t = _step(0, 1, across - column), _step(0, 1, up - row)
    low = chance[row, column % cells] * (1 - s) + chance[row, (column + 1) % cells] * s
    high = chance[row + 1, column % cells] * (1 - s) + chance[row + 1, (column + 1) % cells] * s
    return np.asarray(low * (1 - t) + high * t)


def _mix(one: _Picture, other: _Picture, part: _Picture) -> _Picture:
    return np.asarray(one + (other - one) * part[..., None])


def _step(zero: float, one: float, value: _Picture) -> _Picture:
    part = np.clip((value - zero) / (one - zero), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))
