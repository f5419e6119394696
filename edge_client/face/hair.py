"""Hair in four cuts: a sheet over the scalp, combed along guides, and loose locks upon it. Pure numpy, made once at start.

A guide is a cubic curve on the unrolled scalp (`Scalp`), from a root at the parting or at the hairline to a tip. The sheet joins
guides side by side; a lock is a narrow, raised piece of the sheet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.face.head import Floats, Head
from edge_client.face.scalp import DROP, MIDDLE_Y, Points, Scalp

_END_TURNS = np.radians((0, 60, 80, 100, 125, 155, 180))
_STRANDS_AROUND = 7.0
"""How often the strands' picture is repeated around the head."""
_TEMPLE = np.radians(66)
_CURLS_AROUND, _BUMP, _SHELL = 2.8, 17.0, 4.3
"""Curls: repeats of their picture for each unit of the plane, bumps for each unit, and how thin the outer shells are."""
_GONE = 4.3
"""How thin hair is when no strand of it is left."""
_WAYS = np.array(
    (((0, 0), (0, 1), (1, 1), (0, 0), (1, 1), (1, 0)), ((0, 0), (0, 1), (1, 0), (0, 1), (1, 1), (1, 0))),
)
"""Both ways to cut a cell into two triangles: the row and column of their corners."""
_STEP = 0.012
"""Step along and across the guides by which the direction of the surface is found."""
_ASIDE = np.array((-1.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A style of hair, in head units."""

    ends_y: tuple[float, ...]
    """Heights of the tips at the turns from the front `_END_TURNS`."""
    parting_x: float | None
    """Where hair is parted at the forehead; None if it is combed back from the hairline."""
    volume: float
    """Distance of the sheet from the scalp."""
    quiff: float
    """Additional distance at the forehead."""
    hug: float
    """How closely hair below the ears follows the neck, from 0 (it hangs straight down) to 1."""
    curl: float
    """How far tips turn in towards the neck."""
    fades: float
    """Length over which tips get thin, as a share of the guide."""
    loose: float
    """How far locks stand off the sheet."""
    lock_long: tuple[float, float]
    """Length of the locks, as a share of the guide: the least and the greatest."""
    shells: int = 0
    """Number of translucent layers over tight curls, which have no strands or locks; 0 for straight hair."""
    wide: float = 0.085
    """Width of a lock."""
    locks: int = 150
    columns: int = 108
    """Number of guides of the sheet."""
    rows: int = 26
    """Number of points along a guide."""
    lock_rows: int = 10

    @property
    def coarse(self) -> Cut:
        """The same cut with fewer triangles, for drawing by the CPU."""
        return replace(
            self,
            locks=0,
            columns=24,
            rows=14 if self.shells else 22,
            volume=self.volume + 0.008,  # its facets are nearer to the scalp than its points
            loose=self.loose * 0.4,
            shells=min(self.shells, 1),
        )


CUTS = {
    "bob": Cut(
        ends_y=(-0.86, -0.86, -0.84, -0.82, -0.82, -0.84, -0.84),
        parting_x=0.20,
        volume=0.075,
        quiff=0.02,
        hug=0.0,
        curl=0.22,
        fades=0.10,
        loose=0.018,
        lock_long=(0.55, 0.9),
    ),
    "short": Cut(
        ends_y=(0.05, 0.02, 0.02, 0.12, -0.30, -0.52, -0.56),
        parting_x=0.26,
        volume=0.035,
        quiff=0.06,
        hug=1.0,
        curl=0.0,
        fades=0.25,
        loose=0.035,
        lock_long=(0.25, 0.5),
    ),
    "swept": Cut(
        ends_y=(-0.62, -0.62, -0.62, -0.62, -0.66, -0.72, -0.74),
        parting_x=None,
        volume=0.040,
        quiff=0.035,
        hug=1.0,
        curl=0.0,
        fades=0.15,
        loose=0.018,
        lock_long=(0.35, 0.7),
    ),
    "curls": Cut(
        ends_y=(-0.10, -0.10, -0.06, 0.10, -0.28, -0.46, -0.50),
        parting_x=None,
        volume=0.065,
        quiff=0.0,
        hug=1.0,
        curl=0.0,
        fades=0.30,
        loose=0.016,
        lock_long=(0.0, 0.0),
        shells=2,
        locks=0,
        rows=40,
    ),
}


@dataclass(frozen=True, slots=True)
class Hair:
    """Triangles ready to draw; blendshapes do not move them."""

    points: Floats
    """(vertices, 3)"""
    normals: Floats
    """(vertices, 3): outwards, leaning to the sides at a lock's edges, as if it were round."""
    along: Floats
    """(vertices, 3): unit vectors towards the tip."""
    chart: Floats
    """(vertices, 2): across all strands, and from root (0) to tip (1)."""
    shade: Floats
    """(vertices,): fraction of light that passes through the layers above."""
    cover: Floats
    """(vertices, 2): position across a lock, -1 to 1 at its edges; and how thin hair is, from 0 (solid) to `_GONE`."""
    triangles: NDArray[np.uint16]


def grow(head: Head, cut: Cut, *, seed: int = 1) -> Hair:
    """Make the hair of a head. Deterministic for a seed. Raises `ValueError` if the head has no hairline."""
    if head.hairline is None:
        raise ValueError("the head has no hairline")
    chance = np.random.default_rng(seed)
    comb = _Comb(Scalp.of(head), cut, head.hairline, chance.random(24), chance.random(64))
    if cut.shells:
        layers = np.arange(cut.shells)
        return _joined([_sheet(comb), *(_sheet(comb, (layer + 1) * cut.loose, _SHELL + 0.25 * layer) for layer in layers)])
    return _joined([_sheet(comb), *([_locks(comb, chance)] if cut.locks else [])])


@dataclass(frozen=True, slots=True)
class _Part:
    points: Points
    """(strips, rows, columns, 3)"""
    normals: Points
    along: Points
    chart: Points
    shade: Points
    cover: Points


class _Comb:
    """Guides over a scalp: `surface` maps the position `s` across all guides, and `t` along them, to space."""

    def __init__(self, scalp: Scalp, cut: Cut, hairline: Floats, waves: Points, ends: Points) -> None:
        self.scalp, self.cut = scalp, cut
        turn = np.arctan2(hairline[:, 0], hairline[:, 2] - scalp.centre_z)
        order = np.argsort(turn)
        self._line_turn, self._line_far = turn[order], scalp.far_at(turn[order], hairline[order, 1].astype(float))
        self._waves, self._ends = waves, ends

    def surface(self, s: Points, t: Points, lift: Points) -> Points:
        """Positions in space for arrays of the same shape; `lift` is added to the distance from the scalp."""
        cut, edge, plane = self.cut, np.minimum(s, 1 - s), self.plane(s, t)
        far, turn = np.hypot(plane[..., 0], plane[..., 1]), np.arctan2(plane[..., 0], plane[..., 1])
        ahead = _smooth(np.cos(turn), -0.2, 0.8) * _smooth(far, 1.32, 0.78)
        if cut.parting_x is not None:  # the edge of the sheet is the hairline
            near = _smooth(edge, 0.16, 0.0) * _smooth(np.abs(turn), _TEMPLE + 0.3, _TEMPLE - 0.4)
            short = self._line(np.abs(turn)) - 0.012 - far
            kept = far + near * 0.5 * (short + np.hypot(short, 0.06))  # turns off the hairline without a kink
            plane, far = plane * (kept / np.maximum(far, 1e-9))[..., None], kept
        flat = ahead * _smooth(edge, 0.20, 0.0) if cut.parting_x is not None else np.zeros_like(s)
        rise = _smooth(t, -0.04, 0.14 if cut.shells else 0.30)
        if cut.parting_x is not None:  # both sides are equally high there, with a shallow furrow between them
            rise = (0.84 + 0.16 * _smooth(t, -0.03, 0.15)) * (1 - 0.9 * flat)
        if cut.shells:
            bent = plane[..., 1] * _BUMP + 3 * _wavy(plane[..., 0] * 5, self._ends)
            bumps = _wavy(plane[..., 0] * _BUMP + 9, self._waves) + _wavy(bent, self._ends)
            wave = (bumps - 1) * 0.020 * _smooth(t, 0.0, 0.1)
        else:
            wave = (_wavy(edge * 24, self._waves) - 0.5) * 0.024 * _smooth(t, 0.20, 0.8)
        tuck = cut.curl * np.clip((far - 1.28) / 0.41, 0, 1) ** 2
        quiff = cut.quiff * ahead * (1 - flat) * _smooth(t, 0.75, 0.25)
        quiff = quiff * _smooth(t, 0.0, 0.16) if cut.parting_x is None else quiff
        if cut.parting_x is None:  # the sides lie on the painted hair
            rise, lift = rise * (0.1 + 0.9 * _rim(edge)), lift * _rim(edge)
        low = 1 - 0.85 * cut.hug * _smooth(t, 0.62, 1.0)  # short hair is clipped at the nape
        off = (cut.volume * (0.6 + 0.4 * _smooth(far, 0.2, 0.9)) + wave) * rise * low + quiff + lift * (1 - 0.7 * flat) * low - tuck + 0.008
        return self.scalp.place(plane, off, cut.hug)

    def rows(self) -> Points:
        """Positions along a guide, closer where guides bend more, so that strands and outline look round."""
        s, t = np.meshgrid(np.linspace(0.02, 0.98, 25), np.linspace(0, 1, 240), indexing="ij")
        steps = np.diff(self.surface(s, t, np.zeros_like(s)), axis=1)
        long = np.linalg.norm(steps, axis=-1)
        bends = np.linalg.norm(np.diff(_unit(steps), axis=1), axis=-1).mean(0)
        need = np.convolve(np.sqrt(np.append(bends, bends[-1]) * long.mean(0)), np.ones(15) / 15, "same") + 0.25 * long.mean(0)
        return np.asarray(np.interp(np.linspace(0, 1, self.cut.rows), np.append(0, np.cumsum(need)) / need.sum(), t[0]))

    def change(self, s: Points, t: Points, step: tuple[float, float]) -> Points:
        """The difference of the positions a step before and after, without leaving the sheet."""
        ends = [self.surface(np.clip(s + way * step[0], 0, 1), np.clip(t + way * step[1], 0, 1), np.zeros_like(s)) for way in (-1, 1)]
        return np.asarray(ends[1] - ends[0])

    def plane(self, s: Points, t: Points) -> Points:
        """Positions on the unrolled scalp, (…, 2)."""
        corners, w = self._guides(s), ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        return np.asarray(sum(w_of[..., None] * corner for w_of, corner in zip(w, corners, strict=True)))

    def _guides(self, s: Points) -> tuple[Points, Points, Points, Points]:
        cut, across, side = self.cut, np.abs(2 * s - 1), np.where(s < 0.5, 1.0, -1.0)
        if cut.parting_x is None:
            start, turn = side * across * _TEMPLE, side * (np.pi - across * np.radians(66))
            root = _polar(start, self._line(np.abs(start)))
            second = root + np.stack([0.10 * side * across, -0.50 + 0.12 * across], axis=-1)
            third = _polar(turn, 0.96 - 0.06 * across)
        else:
            turn = side * (np.pi - across**0.85 * (np.pi - _TEMPLE + 0.10))
            at = float(np.arctan2(cut.parting_x, self.scalp.radii[2] * 0.8))
            front = _polar(np.array(at), self._line(np.array(at)))
            crown = np.array((front[0] * 0.5, -0.26))
            where = np.clip((across - 0.28) / 0.72, 0, 1)[..., None]
            root = crown + (front - crown) * where
            third = _polar(turn * 0.96, np.full_like(s, 0.90))
            way = third - root
            way = way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-9)
            second = root + 0.34 * (way * (1 - where) + np.stack([side, np.zeros_like(s)], axis=-1) * where)
        ends = np.interp(np.abs(turn), _END_TURNS, cut.ends_y) + 0.05 * (_wavy(s * 64, self._ends) - 0.5)
        return root, second, third, _polar(turn, 1 + (MIDDLE_Y - ends) / DROP)

    def _line(self, turn: Points) -> Points:
        return np.interp(turn, self._line_turn, self._line_far)


def _sheet(comb: _Comb, lift: float = 0.0, thin_by: float = 0.0) -> _Part:
    cut = comb.cut
    s, t = np.meshgrid(np.linspace(0, 1, cut.columns), comb.rows(), indexing="ij")
    points = comb.surface(s, t, np.full_like(s, lift))
    across, along = (comb.change(s, t, step) for step in ((_STEP, 0.0), (0.0, _STEP)))
    along, outward = _unit(along), _unit(points - (0.0, -0.1, comb.scalp.centre_z))
    normals = np.cross(along, across)
    normals *= np.sign((normals * outward).sum(-1, keepdims=True))
    normals = _unit(_unit(normals) + 0.35 * outward)
    edge = np.where((s == 0) | (s == 1), 1.0, 0.0)
    side = np.minimum(s, 1 - s)
    bare = _smooth(side, 0.09, 0.0) if cut.parting_x is not None else np.maximum(_smooth(t, 0.14, 0.0), 1 - _rim(side))
    thin = thin_by + _GONE * np.maximum(bare, np.clip((t - 1 + cut.fades) / cut.fades, 0, 1))
    shade = _shade(t)
    chart = comb.plane(s, t) * _CURLS_AROUND + lift * 7 if cut.shells else np.stack([s * _STRANDS_AROUND, t], axis=-1)
    return _Part(*(part[None].swapaxes(1, 2) for part in (points, normals, along, chart, shade, np.stack([edge, thin], axis=-1))))


def _locks(comb: _Comb, chance: np.random.Generator) -> _Part:
    cut, count = comb.cut, comb.cut.locks
    middle = (np.arange(count) + chance.random(count)) / count * 0.97 + 0.015
    long = chance.uniform(*cut.lock_long, count)
    start = chance.random(count) ** 1.5 * (1.03 - long)
    part = np.linspace(0, 1, cut.lock_rows)
    t = start[:, None] + long[:, None] * part
    bump = cut.loose * chance.uniform(0.4, 1.0, (count, 1)) * np.sin(np.pi * np.clip(part, 0, 0.9) / 0.9) ** 0.7 + 0.004
    s = np.broadcast_to(middle[:, None], t.shape)
    reach = np.linalg.norm(comb.surface(s + 0.004, t, bump) - comb.surface(s - 0.004, t, bump), axis=-1) / 0.008
    half = np.minimum(cut.wide / 2 * chance.uniform(0.6, 1.2, (count, 1)) / np.maximum(reach, 0.3), 0.05)
    half = half * np.interp(part, (0, 0.2, 0.7, 1), (0.55, 1.0, 0.9, 0.35))
    drift = chance.normal(0, 0.012, (count, 1)) * part**2
    s3 = np.clip((s + drift)[..., None] + half[..., None] * _ASIDE, 0, 1)
    t3, bump3 = np.broadcast_to(t[..., None], s3.shape), bump[..., None] * np.array((0.75, 1.0, 0.75))
    points = comb.surface(s3, t3, np.broadcast_to(bump3, s3.shape))
    along = _unit(np.gradient(points, axis=1))
    aside = _unit(points[:, :, 2] - points[:, :, 0])[:, :, None]
    outward = np.cross(along, aside)
    outward *= np.sign((outward * (points - (0.0, -0.1, comb.scalp.centre_z))).sum(-1, keepdims=True))
    normals = _unit(_unit(outward) + 0.5 * _ASIDE[:, None] * aside)
    thin = np.interp(part, (0, 0.12, 0.75, 1), (_GONE, 0.0, 0.0, _GONE))
    cover = np.stack([np.broadcast_to(_ASIDE, s3.shape), np.broadcast_to(thin[:, None], s3.shape)], axis=-1)
    shade = np.broadcast_to(chance.uniform(0.95, 1.06, (count, 1, 1)) * _shade(t)[..., None], s3.shape)
    chart = np.stack([s3 * _STRANDS_AROUND + chance.random((count, 1, 1)), t3], axis=-1)
    return _Part(points, normals, np.broadcast_to(along, points.shape), chart, shade, cover)


def _rim(edge: Points) -> Points:
    """0 at the sides of a sheet without a parting, 1 further in."""
    return _smooth(edge, 0.0, 0.06)


def _shade(t: Points) -> Points:
    return np.interp(t, (0, 0.06, 0.16, 0.6, 1), (0.70, 0.88, 0.96, 1.0, 0.82))


def _joined(parts: list[_Part]) -> Hair:
    tris, first = [], 0
    for part in parts:
        strips, rows, columns = part.shade.shape
        corner = np.arange(strips * rows * columns).reshape(strips, rows, columns)[:, :-1, :-1].reshape(-1, 1) + first
        leans = np.linalg.norm(part.points[:, 1:, 1:] - part.points[:, :-1, :-1], axis=-1)  # strands bend at the longer diagonal
        rises = np.linalg.norm(part.points[:, 1:, :-1] - part.points[:, :-1, 1:], axis=-1)
        ways = np.where((leans < rises).reshape(-1, 1, 1), _WAYS[0], _WAYS[1]) @ np.array((columns, 1))
        tris += list((corner[..., None] + ways.reshape(-1, 2, 3)).swapaxes(0, 1))
        first += strips * rows * columns
    names = ("points", "normals", "along", "chart", "cover")
    flat = {name: np.concatenate([_flat(getattr(part, name)) for part in parts]) for name in names}
    shade = np.concatenate([part.shade.ravel() for part in parts]).astype(np.float32)
    corners = np.concatenate(tris)
    thin, deep = flat["cover"][corners, 1].max(1) > 0, flat["points"][corners, 2].mean(1)
    order = np.lexsort((np.where(thin, deep, 0.0), thin))  # what is blended comes after what it covers
    return Hair(**flat, shade=shade, triangles=corners[order].astype(np.uint16))


def _flat(array: Points) -> Floats:
    return array.reshape(-1, array.shape[-1]).astype(np.float32)


def _polar(turn: Points, far: Points) -> Points:
    return np.stack([np.sin(turn) * far, np.cos(turn) * far], axis=-1)


def _unit(vectors: Points) -> Points:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def _smooth(value: Points, zero: float, one: float) -> Points:
    part = np.clip((value - zero) / (one - zero), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def _wavy(at: Points, values: Points) -> Points:
    """Smooth random numbers, 0 to 1, that change once per unit of `at`."""
    cell = np.floor(at).astype(int)
    part = at - cell
    part = part * part * (3 - 2 * part)
    return np.asarray(values[cell % len(values)] * (1 - part) + values[(cell + 1) % len(values)] * part)
