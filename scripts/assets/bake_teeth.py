"""Teeth and gums for the bake, modelled tooth by tooth along the arches of MakeHuman's plain rows of teeth. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.assets.bake_mesh import Floats, Ints

_UPPER = ((0.106, 0.124, 0.0), (0.086, 0.118, 0.1), (0.088, 0.122, 0.4), (0.085, 0.112, 0.2))
_LOWER = ((0.068, 0.105, 0.0), (0.072, 0.106, 0.0), (0.082, 0.110, 0.3))
"""From the middle outwards: width, height of the crown, and how pointed it is; usual sizes, in mesh units (about 8 cm)."""
_ACROSS = np.array((-1.0, -0.45, 0.45, 1.0))
_CROWN = np.array(((0.0, -0.004, 1.03), (0.35, 0.006, 1.03), (0.78, 0.008, 1.03), (1.0, 0.001, 1.01), (0.92, -0.030, 1.01)))
"""From the gum to the inner edge of the tip: part of the height, distance outwards from the arch, and part of the width."""
_GUM = np.array(((-0.62, -0.004, 1.0), (0.03, 0.004, 1.0)))
_ROUND, _PAPILLA = 0.005, 0.06
_LOWERED = 0.022
"""The lower row is this much lower than the plain one, so that its tips stay behind the lip of a mouth that is hardly open."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of teeth with its gums."""

    points: Floats
    tris: Ints
    is_gum: NDArray[np.bool_]
    height: Floats
    """Part of the crown's height, 0 at the gum to 1 at the tip."""
    open: Floats
    """Fraction of light that gets between the teeth, 0 to 1."""


def teeth_row(plain: Floats, *, upper: bool) -> Row:
    """Model the row that replaces the plain one with these vertices, (n, 3)."""
    wide, back, front = np.abs(plain[:, 0]).max(), plain[:, 2].min(), plain[:, 2].max()
    tip = plain[:, 1].min() if upper else plain[:, 1].max() - _LOWERED
    lean = np.linspace(0, np.pi / 2, 200)
    deep = front - back
    arch = np.stack([wide * np.sin(lean), deep * np.cos(lean)], axis=1)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(arch, axis=0).T))])
    row = [Row(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros(0, bool), np.zeros(0), np.zeros(0))]
    begin = 0.0
    for width, high, pointed in _UPPER if upper else _LOWER:
        for side in (1.0, -1.0):
            middle = side * (begin + width / 2)
            gum = _grid(_GUM, middle, width, 0.0)
            gum[1, :, 1] += _PAPILLA * (np.abs(_ACROSS) - 0.35)
            for grid, is_gum in ((gum, True), (_grid(_CROWN, middle, width, pointed), False)):
                lean_of = np.interp(np.abs(grid[..., 0]), along, lean) * np.sign(grid[..., 0])
                out = np.stack([np.sin(lean_of) / wide, np.cos(lean_of) / deep], axis=-1)
                out /= np.linalg.norm(out, axis=-1, keepdims=True)
                flat = np.stack([wide * np.sin(lean_of), back + deep * np.cos(lean_of)], axis=-1) + out * grid[..., 2:]
                up = (1 - grid[..., 1]) * high * (1 if upper else -1)
                points = np.stack([flat[..., 0], tip + up, flat[..., 1]], axis=-1)
                row.append(_piece(points, grid[..., 1], is_gum=is_gum, upper=upper))
        begin += width
    first = np.cumsum([len(piece.points) for piece in row]) - [len(piece.points) for piece in row]
    return Row(
        np.concatenate([piece.points for piece in row]),
        np.concatenate([piece.tris + start for piece, start in zip(row, first, strict=True)]),
        np.concatenate([piece.is_gum for piece in row]),
        np.concatenate([piece.height for piece in row]),
        np.concatenate([piece.open for piece in row]),
    )


def _piece(points: Floats, height: Floats, *, is_gum: bool, upper: bool) -> Row:
    rows, columns = height.shape
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    ways = ((0, columns, 1), (1, columns, columns + 1))
    tris = np.concatenate([corner[:, None] + np.array(way if upper else way[::-1]) for way in ways])
    gap = np.zeros(columns) if is_gum else np.abs(_ACROSS) ** 4
    light = np.broadcast_to(1 - 0.16 * gap, (rows, columns)).ravel()
    return Row(points.reshape(-1, 3), tris, np.full(rows * columns, is_gum), height.ravel(), light)


def _grid(profile: Floats, middle: float, width: float, pointed: float) -> Floats:
    """Rows by columns of: distance along the arch, part of the crown's height, distance outwards."""
    part, out, wide = (profile[:, None, column] for column in range(3))
    along = middle + _ACROSS * wide * width / 2
    edge = np.abs(_ACROSS) ** 2
    down = part - np.clip(part - 0.5, 0, 1) * (0.06 + 0.25 * pointed) * edge  # corners of tips are round
    return np.stack([along, down, out - _ROUND * edge], axis=-1)
