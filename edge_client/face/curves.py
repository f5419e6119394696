"""Plane curves for the vector face: outlines as point arrays of shape (n, 2), x to the right, y down. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Colour = tuple[int, int, int]

_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def bezier(
    start: tuple[float, float], one: tuple[float, float], two: tuple[float, float], end: tuple[float, float], count: int = 16
) -> Points:
    """A cubic Bézier curve as `count` points, both ends included."""
    t = np.linspace(0, 1, count)[:, None]
    s = 1 - t
    a, b, c, d = (np.asarray(point, float) for point in (start, one, two, end))
    return np.asarray(s**3 * a + 3 * s * s * t * b + 3 * s * t * t * c + t**3 * d)


def step(x: float, y: float) -> Points:
    """A vector, to move points by."""
    return np.array((x, y), float)


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """The outline of an ellipse."""
    return _CIRCLE * (rx, ry) + (x, y)


def stroke(line: Points, thickness: Points | float) -> Points:
    """The outline of a brush stroke along a line; `thickness` is one number, or one for each point."""
    along = np.gradient(line, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    half = np.asarray(thickness, float) / 2
    across = np.stack([-along[:, 1] / length * half, along[:, 0] / length * half], axis=1)
    return np.concatenate([line + across, (line - across)[::-1]])


def taper(count: int, thick: float, start: float = 0.15, end: float = 0.15) -> Points:
    """Brush thickness at `count` points: `thick` in the middle, `thick` times `start` and `end` at the ends."""
    t = np.linspace(0, 1, count)
    ends = start * (1 - t) + end * t
    return thick * (ends + (1 - ends) * np.sin(np.pi * t) ** 0.7)


def between(shape: Points, upper: Points, lower: Points) -> Points:
    """A shape clamped between the lines `upper` and `lower`, which run from left to right over the same width."""
    x = np.clip(shape[:, 0], upper[0, 0], upper[-1, 0])
    roof = np.interp(x, upper[:, 0], upper[:, 1])
    floor = np.maximum(roof, np.interp(x, lower[:, 0], lower[:, 1]))
    return np.stack([x, np.clip(shape[:, 1], roof, floor)], axis=1)


def mix(one: Colour, other: Colour, part: float) -> Colour:
    """Mix two colours: `one` at part 0, `other` at part 1."""
    return (
        round(one[0] + (other[0] - one[0]) * part),
        round(one[1] + (other[1] - one[1]) * part),
        round(one[2] + (other[2] - one[2]) * part),
    )
