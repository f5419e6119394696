"""Age lines and stubble: the strength of each, 0 to 1, at positions on the default person's face. Pure numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from scripts.assets.bake_mesh import Floats

_SMILE = np.array(((0.135, -0.375), (0.195, -0.43), (0.245, -0.50), (0.275, -0.575), (0.285, -0.65), (0.275, -0.71)))
"""Line from the wing of the nose past the corner of the mouth: x, y."""
_CROW = (0.42, -0.015)
"""The outer corner of the eye."""


def age_lines(place: Floats) -> Floats:
    """Age lines on the forehead, between the brows, around the eyes and mouth, and on the neck."""
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    front = z > -0.1
    total = np.zeros(len(place))
    for level, wide, depth in ((0.33, 0.36, 0.7), (0.415, 0.42, 1.0), (0.495, 0.38, 0.8)):
        bent = y - level - 0.02 * np.cos(9 * place[:, 0] + 20 * level) + 0.05 * x**2
        total += 0.13 * depth * _line(bent, 0.011) * _fade(x, wide)
    frown = x - 0.045 - 0.10 * (y - 0.16)
    total += 0.16 * _line(frown, 0.006) * _fade(np.abs(y - 0.16), 0.075)
    total += 0.26 * _line(_from_path(x, y, _SMILE), 0.013) * (z > 0)
    away, turn = np.hypot(x - _CROW[0], y - _CROW[1]), np.arctan2(y - _CROW[1], x - _CROW[0])
    for angle in (-0.55, -0.15, 0.25):
        total += 0.20 * _line((turn - angle - 0.6 * (away - 0.03)) * away, 0.005) * _fade(np.abs(away - 0.085), 0.055) * (x > _CROW[0])
    bag = np.hypot((x - 0.285) / 0.165, (y + 0.06) / 0.115)
    total += 0.20 * _line((bag - 1) * 0.11, 0.012) * (y < -0.09)
    total += 0.12 * _line((bag - 1.45) * 0.11, 0.010) * (y < -0.12) * (x < 0.40)
    corner = x - 0.265 - 0.05 * np.sin((y + 0.80) * 8)
    total += 0.18 * _line(corner, 0.010) * _fade(np.abs(y + 0.78), 0.09)
    total[~front] = 0
    for level in (-1.20, -1.34):
        total += 0.16 * _line(y - level - 0.06 * x**2, 0.010) * (z > -0.7)
    return np.clip(total, 0, 1)


def stubble(place: Floats) -> Floats:
    """Stubble on the jaw, chin, upper lip and the upper part of the neck."""
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    cheek = np.interp(x, (0.0, 0.24, 0.34, 0.55, 0.80), (-0.70, -0.70, -0.60, -0.50, -0.22))
    jaw = _step(cheek + 0.04 - y, 0.0, 0.10) * _step(y, -1.32, -1.08) * _step(z, -0.75, -0.45)
    lip = _step(-0.445 - 0.22 * x - y, 0.0, 0.07) * _step(y, -0.66, -0.60) * _step(0.32 - x, 0.0, 0.20) * (z > 0.1)
    return np.maximum(jaw, lip)


def _line(off: Floats, half: float) -> Floats:
    return np.asarray(np.exp(-((off / half) ** 2)))


def _fade(value: Floats, end: float) -> Floats:
    return _step(end - value, 0.0, 0.6 * end)


def _from_path(x: Floats, y: Floats, path: Floats) -> Floats:
    """Distance of each position to the polyline through `path`."""
    nearest = np.full(len(x), np.inf)
    for (ax, ay), (bx, by) in pairwise(path):
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
    return nearest


def _step(value: Floats, zero: float, one: float) -> Floats:
    part = np.clip((value - zero) / (one - zero), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))
