"""The baked head: the arrays of `assets/head.npz`, read and checked. `assets/head-LICENSE.md` says where they come from."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.errors import AssetError

HEAD_FILE = Path(__file__).parent / "assets" / "head.npz"

Floats = NDArray[np.float32]

_CUT_Y = -2.2
"""The body was cut off below this height …"""
_END_Y, _END_SHADE = -5.6, 0.75
"""… and goes on to this one, where so much light is left."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head at rest and how the 52 blendshapes move it. One unit is about 8 cm; the origin lies between the eyes; axes as in a pose.

    Vertices are sorted: the first `moving` of them are moved by at least one blendshape, the others by none.
    """

    points: Floats
    """(vertices, 3)"""
    normals: Floats
    """(vertices, 3), about unit length."""
    chart: Floats
    """(vertices, 2): texture coordinates, row 0 at the bottom; of lashes the place along the lid and the way from root to tip."""
    shade: Floats
    """(vertices,): how much of the surrounding light reaches a place, 0 to 1."""
    gloss: Floats
    """(vertices,): strength of the highlight."""
    triangles: NDArray[np.uint16]
    """(triangles, 3), counter-clockwise in front; skin, mouth, teeth and tongue."""
    lash_triangles: NDArray[np.uint16]
    """(triangles, 3) of the lashes."""
    deltas: Floats
    """(52, moving × 6): for each blendshape and moving vertex the offset of its place and of its normal."""
    moving: int
    eye_centres: Floats
    """(2, 3): left, right."""
    eye_radius: float
    head_pivot: Floats
    """(3,): what the head turns about."""
    neck_pivot: Floats
    """(3,): what the neck turns about."""
    lips: tuple[int, int]
    """The vertices in the middle of the upper and the lower lip's edge: their distance is the opening of the mouth."""
    paint: bytes
    """The texture as a JPEG file, its top row at v = 1."""


def load_head(path: Path = HEAD_FILE) -> Head:
    """Read a baked head. Raises `AssetError` when the file is missing, damaged, or baked for other blendshapes."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _head_from(arrays)
    except (OSError, EOFError, KeyError, ValueError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise AssetError(f"the head {path} can not be read ({error}); reinstall, or bake it with scripts/assets/bake_head.py") from error


def lengthened(head: Head) -> Head:
    """The same with a body that goes on below where it was cut off, and falls into shadow, for pictures that are tall."""
    tris = head.triangles.astype(np.int64)
    edges = np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]])
    _, which, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    rim = edges[count[which.ravel()] == 1]
    rim = rim[(head.points[rim, 1] < _CUT_Y).all(axis=1)]
    lower, places = np.unique(rim, return_inverse=True)
    below = places.reshape(rim.shape) + len(head.points)
    points = head.points[lower]
    points[:, 1] = _END_Y
    normals = np.stack([points[:, 0] / 4, np.full(len(lower), -1.0), np.full(len(lower), 0.3)], axis=1).astype(np.float32)
    sides = [(rim[:, 1], rim[:, 0], below[:, 0]), (rim[:, 1], below[:, 0], below[:, 1])]
    return replace(
        head,
        points=np.concatenate([head.points, points]),
        normals=np.concatenate([head.normals, normals]),
        chart=np.concatenate([head.chart, head.chart[lower]]),
        shade=np.concatenate([head.shade, np.full(len(lower), _END_SHADE, np.float32)]),
        gloss=np.concatenate([head.gloss, head.gloss[lower]]),
        triangles=np.concatenate([head.triangles, *(np.stack(side, axis=1).astype(head.triangles.dtype) for side in sides)]),
    )


def _head_from(arrays: dict[str, NDArray[np.generic]]) -> Head:
    if tuple(str(name) for name in arrays["names"]) != ARKIT_NAMES:
        raise ValueError("it has other blendshapes than ARKit's 52")
    moves = arrays["moves"].astype(np.float32) * arrays["move_scale"].astype(np.float32)[:, None, None]
    bends = arrays["bends"].astype(np.float32) * arrays["bend_scale"].astype(np.float32)[:, None, None]
    touched = np.abs(moves).max((0, 2)) > 0
    order = np.argsort(~touched, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    moving = int(touched.sum())
    tris = place[arrays["triangles"].astype(np.int64)].astype(np.uint16)
    lashes = int(arrays["lash_triangles"].astype(np.int64))
    first, second = (int(place[lip]) for lip in arrays["lips"].astype(np.int64))
    deltas = np.concatenate([moves, bends], axis=2)[:, order[:moving]]

    def sorted_floats(name: str) -> Floats:
        return np.ascontiguousarray(arrays[name][order], np.float32)

    return Head(
        points=sorted_floats("points"),
        normals=sorted_floats("normals"),
        chart=sorted_floats("chart"),
        shade=sorted_floats("shade"),
        gloss=sorted_floats("gloss"),
        triangles=tris[: len(tris) - lashes],
        lash_triangles=tris[len(tris) - lashes :],
        deltas=np.ascontiguousarray(deltas.reshape(len(ARKIT_NAMES), moving * 6)),
        moving=moving,
        eye_centres=arrays["eye_centres"].astype(np.float32),
        eye_radius=float(arrays["eye_radius"].astype(np.float32)),
        head_pivot=arrays["pivots"][0].astype(np.float32),
        neck_pivot=arrays["pivots"][1].astype(np.float32),
        lips=(first, second),
        paint=arrays["paint"].astype(np.uint8).tobytes(),
    )
