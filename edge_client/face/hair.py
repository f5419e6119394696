"""Hair as locks: ribbons that grow from a scalp of simple shape, follow a flow over it, and end in tips. Pure numpy, made once.

The scalp is a superellipsoid fitted to the head's cap, upright below its middle. A lock advances from its root along the flow: away from
the parting, back from the face, and down by its weight; the scalp pushes it out to its layer, and no lock falls into the face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.face.head import Floats, Head

_Points = NDArray[np.float64]

STRIPS = 5
"""Number of parts of the strands' picture; each lock shows one of them."""
_POWER = 2.4
_STEP, _MOST_STEPS = 0.075, 46
_LINE_TURN = np.radians((0, 18, 34, 46, 56, 70, 88, 105, 180))
_LINE_Y = np.array((0.70, 0.66, 0.58, 0.45, 0.22, -0.12, -0.22, -0.55, -0.74))
"""The hairline: its height at each turn from the front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A style of hair, in head units."""

    locks: int
    ends_y: float
    """Height of the tips."""
    parting_x: float
    volume: float
    """Distance of the outermost layer from the scalp."""
    wide: float
    """Width of a lock."""
    back: float
    """How strongly hair at the front is combed back."""
    frames: float
    """How strongly hair at the sides falls towards the face, over the ears."""
    curl: float
    """How far tips turn in towards the neck."""
    longest: float
    """Length of the longest lock."""
    rows: int = 8
    """Number of points along a lock, from root to tip."""

    @property
    def coarse(self) -> Cut:
        """The same cut with fewer, wider locks, for drawing by the CPU."""
        return replace(self, locks=self.locks // 3, wide=self.wide * 1.55, rows=6)


CUTS = {
    "bob": Cut(locks=330, ends_y=-0.86, parting_x=0.20, volume=0.085, wide=0.150, back=0.55, frames=0.30, curl=0.20, longest=3.2),
    "short": Cut(locks=420, ends_y=-0.24, parting_x=0.26, volume=0.10, wide=0.120, back=0.95, frames=-0.2, curl=0.02, longest=0.62),
    "swept": Cut(locks=360, ends_y=-0.74, parting_x=0.05, volume=0.14, wide=0.140, back=2.10, frames=-0.6, curl=0.12, longest=2.6),
}


@dataclass(frozen=True, slots=True)
class Hair:
    """Ribbons ready to draw; blendshapes do not move them."""

    points: Floats
    """(vertices, 3)"""
    normals: Floats
    """(vertices, 3): outwards, leaning to the sides at a ribbon's edges, as if it were round."""
    along: Floats
    """(vertices, 3): unit vectors towards the tip."""
    chart: Floats
    """(vertices, 2): across all strands, and from root (0) to tip (1)."""
    shade: Floats
    """(vertices,): fraction of light that passes through the layers above."""
    triangles: NDArray[np.uint16]


def grow(head: Head, cut: Cut, *, seed: int = 1) -> Hair:
    """Grow hair for a head whose face is where the built-in one's is. Deterministic for a seed."""
    chance = np.random.default_rng(seed)
    scalp = _Scalp.of(head)
    turn, height = _roots(cut, chance)
    count = len(turn)
    roots = scalp.place(turn, height, 0.01)
    rank = np.clip((height + 0.8) / 2.0, 0, 1) ** 1.3  # higher roots are over lower ones
    layer = cut.volume * (0.20 + 0.80 * rank) * (1 - 0.5 * np.clip((height - 0.85) / 0.25, 0, 1)) * chance.uniform(0.92, 1.08, count)
    paths = _fall(scalp, cut, roots, layer, chance)
    return _ribbons(scalp, cut, paths, rank, chance)


@dataclass(frozen=True, slots=True)
class _Scalp:
    centre: _Points
    radii: _Points

    @classmethod
    def of(cls, head: Head) -> _Scalp:
        """Fit a scalp to the top, the sides above the ears and the back of the head."""
        points = head.points.astype(float)
        top = points[:, 1].max()
        band = points[(np.abs(points[:, 1] - 0.22) < 0.12) & (points[:, 2] > -1.9)]
        wide, back, front = band[:, 0].max(), band[:, 2].min(), band[:, 2].max()
        middle = (back + front - 0.02) / 2
        return cls(np.array((0.0, 0.15, middle)), np.array((wide + 0.03, top - 0.15, middle - back + 0.02)))

    def place(self, turn: _Points, height: _Points, off: float) -> _Points:
        """Points at turns from the front and heights, `off` outside the scalp."""
        up = np.clip((height - self.centre[1]) / self.radii[1], 0, 0.995)
        ring = (1 - up**_POWER) ** (1 / _POWER)
        flat = np.stack([np.sin(turn), np.cos(turn)], axis=1)
        grown = ring[:, None] * self.radii[[0, 2]] + off
        return np.stack([flat[:, 0] * grown[:, 0], height, self.centre[2] + flat[:, 1] * grown[:, 1]], axis=1)

    def outward(self, points: _Points) -> _Points:
        """Surface normals near points."""
        part = (points - self.centre) / self.radii
        part[:, 1] = np.maximum(part[:, 1], 0.0)
        flat = np.hypot(part[:, 0], part[:, 2])[:, None] ** (_POWER - 2)
        slope = part * np.concatenate([flat, np.abs(part[:, 1:2]) ** (_POWER - 2), flat], axis=1) / self.radii
        return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=1), 1e-9)[:, None])

    def depth(self, points: _Points) -> _Points:
        """How far inside the scalp points are; negative outside. Approximate, accurate near the surface."""
        part = np.abs((points - self.centre) / self.radii)
        up = np.where(points[:, 1] > self.centre[1], part[:, 1], 0.0)
        size = (np.hypot(part[:, 0], part[:, 2]) ** _POWER + up**_POWER) ** (1 / _POWER)
        return np.asarray((1 - size) * self.radii[0])


def _roots(cut: Cut, chance: np.random.Generator) -> tuple[_Points, _Points]:
    """Turns and heights of the roots: evenly over the scalp, and one conspicuous row each along the hairline and the parting."""
    spread = np.arange(cut.locks) + 0.5
    turn = (spread * 2.39996) % (2 * np.pi) - np.pi
    line = np.interp(np.abs(turn), _LINE_TURN, _LINE_Y)
    height = line + (1.16 - line) * (spread / cut.locks) ** 0.85
    rim = np.linspace(-2.2, 2.2, cut.locks // 5)
    rim_height = np.interp(np.abs(rim), _LINE_TURN, _LINE_Y) + chance.uniform(0.0, 0.05, len(rim))
    turn, height = np.concatenate([turn, rim]), np.concatenate([height, rim_height])
    high = height > cut.ends_y + 0.15
    turn, height = turn[high], height[high]
    order = np.argsort(-height)  # the outermost are drawn first, so that hidden fragments are not shaded
    return turn[order] + chance.normal(0, 0.02, len(order)), height[order]


def _fall(scalp: _Scalp, cut: Cut, roots: _Points, layer: _Points, chance: np.random.Generator) -> list[_Points]:
    """Trace the path of each lock; lengths vary."""
    place, way = roots.copy(), scalp.outward(roots) * 0.1
    steps, ends = [place.copy()], cut.ends_y + chance.normal(0, 0.035, len(roots))
    length = cut.longest * chance.uniform(0.85, 1.08, len(roots))
    sway = chance.normal(0, 0.16, (len(roots), 3))
    lives = np.full(len(roots), len(steps))
    alive = np.ones(len(roots), bool)
    for step in range(_MOST_STEPS):
        way = 0.55 * way + _flow(cut, place) + 0.30 * sway * np.sin(step * 0.55 + np.arange(len(roots)))[:, None]
        outward = scalp.outward(place)
        way -= outward * ((way * outward).sum(1) * 0.8)[:, None]
        way /= np.maximum(np.linalg.norm(way, axis=1), 1e-9)[:, None]
        place = place + _STEP * way
        lift = layer * min(1.0, 0.35 + 0.22 * step)
        curl = cut.curl * np.clip((-0.25 - place[:, 1]) / 0.6, 0, 1) ** 2
        deep = scalp.depth(place) + lift - curl
        place += scalp.outward(place) * deep[:, None] * np.where(deep > 0, 1.0, 0.8)[:, None]
        place = _out_of_the_face(scalp, place)
        alive &= (place[:, 1] > ends) & ((step + 1) * _STEP < length)
        steps.append(place.copy())
        lives = np.where(alive, step + 2, lives)
    way_of = np.stack(steps, axis=1)
    return [way_of[lock, : max(4, lives[lock])] for lock in range(len(roots))]


def _flow(cut: Cut, place: _Points) -> _Points:
    x, y, z = place.T
    top = np.clip((y - 0.35) / 0.55, 0, 1)
    front = np.clip((z + 0.75) / 0.6, 0, 1) * np.clip((y - 0.25) / 0.4, 0, 1)
    off = x - cut.parting_x * np.clip((z + 1.1) / 1.0, 0, 1)
    side = np.copysign(np.maximum(np.abs(np.tanh(off / 0.07)), 0.7), off)
    behind = np.clip((-0.75 - z) / 0.4, 0, 1)
    beside = np.clip((0.45 - y) / 0.4, 0, 1) * np.clip((z + 1.15) / 0.3, 0, 1)
    ahead = cut.frames * beside - cut.back * front - 0.5 * top * behind
    return np.stack([side * top * (1 - 0.6 * behind), -0.45 - 0.75 * (1 - top), ahead], axis=1)


def _out_of_the_face(scalp: _Scalp, place: _Points) -> _Points:
    """Move points that are in front of the face back around the head's axis, by the face's width at their height."""
    x, z = place[:, 0], place[:, 2] - scalp.centre[2]
    turn, far = np.arctan2(x, z), np.hypot(x, z)
    least = np.interp(place[:, 1], (-0.9, -0.1, 0.35, 0.62, 0.80), np.radians((58, 60, 56, 34, 0)))
    kept = np.where(np.abs(turn) < least, np.copysign(least, turn), turn)
    return np.stack([far * np.sin(kept), place[:, 1], scalp.centre[2] + far * np.cos(kept)], axis=1)


def _ribbons(scalp: _Scalp, cut: Cut, paths: list[_Points], rank: _Points, chance: np.random.Generator) -> Hair:
    part = np.linspace(0, 1, cut.rows) ** 1.2
    middle = np.stack([_resampled(path, part) for path in paths])  # (locks, rows, 3)
    along = np.gradient(middle, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
    outward = scalp.outward(middle.reshape(-1, 3)).reshape(middle.shape)
    tilt = chance.normal(0, 0.09, (len(paths), 1, 1))
    across = np.cross(along, outward)
    across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-9)
    outward = np.cross(across, along)
    across, outward = across * np.cos(tilt) + outward * np.sin(tilt), outward * np.cos(tilt) - across * np.sin(tilt)
    wide = cut.wide * chance.uniform(0.75, 1.25, (len(paths), 1)) * np.interp(part, (0, 0.12, 0.55, 0.85, 1), (0.22, 0.85, 1.0, 0.72, 0.10))
    half = across * (wide / 2)[..., None]
    points = np.stack([middle - half, middle + half], axis=2)
    lean = np.stack([outward - 0.75 * across, outward + 0.75 * across], axis=2)
    lean /= np.linalg.norm(lean, axis=3, keepdims=True)
    strip = chance.integers(0, STRIPS, (len(paths), 1, 1))
    charts = np.stack(np.broadcast_arrays((strip + np.array((0.0, 1.0))) / STRIPS, part[None, :, None]), axis=3)
    shade = (0.42 + 0.58 * rank)[:, None] * np.interp(part, (0, 0.15, 0.8, 1), (0.78, 1.0, 1.0, 0.86))
    corner = (np.arange(len(paths)) * 2 * cut.rows)[:, None, None] + (np.arange(cut.rows - 1) * 2)[None, :, None]
    tris = np.concatenate([corner + np.array((0, 1, 2)), corner + np.array((1, 3, 2))], axis=1).reshape(-1, 3)
    return Hair(
        points=_flat(points),
        normals=_flat(lean),
        along=_flat(np.repeat(along, 2, axis=1)),
        chart=_flat(charts),
        shade=np.repeat(shade, 2, axis=1).ravel().astype(np.float32),
        triangles=tris.astype(np.uint16),
    )


def _flat(array: _Points) -> Floats:
    return array.reshape(-1, array.shape[-1]).astype(np.float32)


def _resampled(path: _Points, part: _Points) -> _Points:
    """Resample a path at evenly spaced positions."""
    far = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    return np.stack([np.interp(part * far[-1], far, path[:, axis]) for axis in range(3)], axis=1)
