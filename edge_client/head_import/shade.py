"""Fraction of the surrounding light that reaches each vertex: depth maps of points, from directions spread evenly over a sphere. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DIRECTIONS, _CELLS, _REACH = 40, 128, 0.05
_MOST_SAMPLES = 400_000


def shade(points: Floats, normals: Floats, tris: Ints) -> Floats:
    """Return the fraction of light at vertices (n, 3) with unit normals: (n,), 0 to 1."""
    middle = (points.min(0) + points.max(0)) / 2
    points = points - middle
    half = max(float(np.linalg.norm(points, axis=1).max()), 1e-9) * 1.001
    samples = _samples(points, tris)
    index = np.arange(_DIRECTIONS) + 0.5
    up, turn = 1 - 2 * index / _DIRECTIONS, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - up**2)
    seen, total = np.zeros(len(points)), np.full(len(points), 1e-9)
    for direction in np.stack([ring * np.cos(turn), up, ring * np.sin(turn)], axis=1):
        side = np.cross(direction, (0.3, 0.9, 0.2))
        side /= np.linalg.norm(side)
        axes = side, np.cross(direction, side)
        front = np.full(_CELLS * _CELLS, -np.inf)
        np.maximum.at(front, _cells(samples, axes, half), samples @ direction)
        behind = front[_cells(points, axes, half)] - points @ direction
        weight = np.maximum(0.0, normals @ direction)
        seen += weight * np.clip(2.0 - behind / _REACH, 0, 1)
        total += weight
    return np.asarray(0.42 + 0.58 * np.clip(seen / total, 0, 1) ** 0.8)


def _cells(points: Floats, axes: tuple[Floats, Floats], half: float) -> Ints:
    """The cell of each point in a depth map of a square from −half to half."""
    across, down = (np.clip(((points @ axis + half) * (_CELLS / (2 * half))).astype(np.int64), 0, _CELLS - 1) for axis in axes)
    return np.asarray(down * _CELLS + across)


def _samples(points: Floats, tris: Ints) -> Floats:
    """Points spread over the triangles, dense enough for the cells of a depth map."""
    a, b, c = (points[tris[:, corner]] for corner in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    cell = 2 * float(np.linalg.norm(points, axis=1).max()) / _CELLS
    counts = np.ceil(2 * area / cell**2).astype(np.int64) + 1
    if counts.sum() > _MOST_SAMPLES:
        counts = np.maximum(1, counts * _MOST_SAMPLES // counts.sum())
    chosen = np.repeat(np.arange(len(tris)), counts)
    u, v = np.random.default_rng(1).random((2, len(chosen)))
    folded = u + v > 1
    u[folded], v[folded] = 1 - u[folded], 1 - v[folded]
    return np.asarray(a[chosen] + u[:, None] * (b - a)[chosen] + v[:, None] * (c - a)[chosen])
