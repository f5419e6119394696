"""Geometry for the bake of the head: reading MakeHuman files, normals, rasterising, ambient occlusion. Pure numpy."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Quads:
    """A mesh of quads, as in MakeHuman's OBJ file."""

    points: Floats
    uvs: Floats
    faces: Ints
    face_uvs: Ints
    groups: NDArray[np.str_]


def load_obj(path: Path) -> Quads:
    """All quads of the base mesh with their group names."""
    points: list[list[float]] = []
    uvs: list[list[float]] = []
    faces: list[list[int]] = []
    face_uvs: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for line in path.read_text().splitlines():
        match line.split():
            case ["v", x, y, z]:
                points.append([float(x), float(y), float(z)])
            case ["vt", u, v, *_]:
                uvs.append([float(u), float(v)])
            case ["g", name]:
                group = name
            case ["f", *corners] if len(corners) == 4:
                pairs = [corner.split("/") for corner in corners]
                faces.append([int(pair[0]) - 1 for pair in pairs])
                face_uvs.append([int(pair[1]) - 1 for pair in pairs])
                groups.append(group)
    return Quads(np.array(points), np.array(uvs), np.array(faces), np.array(face_uvs), np.array(groups))


def load_target(path: Path, count: int) -> Floats:
    """A MakeHuman target as an offset for each of `count` points."""
    offsets = np.zeros((count, 3))
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in text.decode().splitlines():
        fields = line.split()
        if len(fields) == 4 and not line.startswith("#"):
            offsets[int(fields[0])] = [float(field) for field in fields[1:]]
    return offsets


def triangles(quads: Ints) -> Ints:
    """Each quad as two triangles."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def normals(points: Floats, tris: Ints) -> Floats:
    """Unit vertex normals, weighted by area."""
    face = np.cross(points[tris[:, 1]] - points[tris[:, 0]], points[tris[:, 2]] - points[tris[:, 0]])
    total = np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, tris[:, corner], face)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1), 1e-12)[:, None])


@dataclass(frozen=True, slots=True)
class Refined:
    """Triangles after their marked edges were halved. New points follow the old ones, one for each pair of `parents`."""

    parents: Ints
    tris: Ints


def refine(tris: Ints, marked: NDArray[np.bool_]) -> Refined:
    """Halve each edge between two marked points. Adjacent triangles are split to match, which avoids cracks."""
    edges = np.sort(np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]]), axis=1)
    parents = np.unique(edges[marked[edges].all(1)], axis=0)
    middle_of = {(a, b): len(marked) + place for place, (a, b) in enumerate(parents.tolist())}
    cut: list[tuple[int, int, int]] = []
    for a, b, c in tris.tolist():
        ab, bc, ca = (middle_of.get((min(pair), max(pair)), -1) for pair in ((a, b), (b, c), (c, a)))
        corners = [point for point in (a, ab, b, bc, c, ca) if point >= 0]
        if len(corners) == 6:
            cut += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
            continue
        if len(corners) > 3:  # start the fan at a midpoint, which avoids degenerate triangles
            first = corners.index(max(corners))
            corners = corners[first:] + corners[:first]
        cut += [(corners[0], corners[place], corners[place + 1]) for place in range(1, len(corners) - 1)]
    return Refined(parents, np.array(cut))


def rounded_middles(points: Floats, vertex_normals: Floats, parents: Ints, roundness: float = 0.75) -> Floats:
    """Midpoints of edges, moved towards the smooth surface given by the normals (Phong tessellation, Boubekeur and Alexa 2008)."""
    middle = points[parents].mean(1)
    lifted = np.zeros_like(middle)
    for end in (0, 1):
        corner, normal = points[parents[:, end]], vertex_normals[parents[:, end]]
        lifted += (middle - ((middle - corner) * normal).sum(1, keepdims=True) * normal) / 2
    return np.asarray(middle + roundness * (lifted - middle))


def rasterise(plane: Floats, depth: Floats, values: Floats, tris: Ints, size: int) -> tuple[Floats, Floats]:
    """Rasterise triangles into a square of `size` by `size` texels; the greatest depth is in front.

    `plane` holds coordinates from 0 to 1 with row 0 at v = 0; `values` are interpolated. Returns the values, (size, size, n), and
    the depth, (size, size), which is −inf in texels without a triangle.
    """
    image = np.zeros((size, size, values.shape[1]))
    front = np.full((size, size), -np.inf)
    spots = plane * size - 0.5
    low = np.maximum(np.floor(spots[tris].min(1)).astype(int), 0)
    high = np.minimum(np.ceil(spots[tris].max(1)).astype(int), size - 1)
    for tri, (x0, y0), (x1, y1) in zip(tris, low, high, strict=True):
        a, b, c = spots[tri]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if abs(area) < 1e-12 or x1 < x0 or y1 < y0:
            continue
        x, y = np.arange(x0, x1 + 1)[None, :], np.arange(y0, y1 + 1)[:, None]
        wb = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
        wc = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
        wa = 1 - wb - wc
        edge = -0.02
        deep = wa * depth[tri[0]] + wb * depth[tri[1]] + wc * depth[tri[2]]
        box = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        hit = (wa >= edge) & (wb >= edge) & (wc >= edge) & (deep > front[box])
        if not hit.any():
            continue
        front[box][hit] = deep[hit]
        if values.shape[1]:
            mixed = wa[..., None] * values[tri[0]] + wb[..., None] * values[tri[1]] + wc[..., None] * values[tri[2]]
            image[box][hit] = mixed[hit]
    return image, front


def open_sky(points: Floats, vertex_normals: Floats, tris: Ints, *, rays: int = 40, size: int = 160, reach: float = 0.03) -> Floats:
    """Ambient occlusion by depth maps: for each point the share of its upper half-space that is open to light, 0 to 1.

    `rays` directions are spread evenly (a Fibonacci sphere); `reach` is the depth behind the front surface that still counts as lit.
    """
    seen = np.zeros(len(points))
    total = np.full(len(points), 1e-9)
    index = np.arange(rays) + 0.5
    up = 1 - 2 * index / rays
    turn = np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - up**2)
    nothing = np.zeros((len(points), 0))
    for direction in np.stack([ring * np.cos(turn), up, ring * np.sin(turn)], axis=1):
        side = np.cross(direction, (0.3, 0.9, 0.2))
        side /= np.linalg.norm(side)
        flat = points @ np.stack([side, np.cross(direction, side)]).T
        low, span = flat.min(0), float(np.ptp(flat, axis=0).max()) * 1.001
        plane, deep = (flat - low) / span, points @ direction
        _, front = rasterise(plane, deep, nothing, tris, size)
        cell = np.clip((plane * size).astype(int), 0, size - 1)
        weight = np.maximum(0.0, vertex_normals @ direction)
        lit = np.clip((deep - front[cell[:, 1], cell[:, 0]]) / reach + 2.0, 0, 1)
        seen += weight * lit
        total += weight
    return np.asarray(seen / total)
