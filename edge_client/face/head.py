"""A head: the arrays of a file, read and checked.

Those in `assets` are built in (`edge_client.cast`); their origin is in `assets/heads-LICENSE.md`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.cast import ASSETS, DEFAULT_HEAD, head_file
from edge_client.choices import HairChoice
from edge_client.colours import Painted
from edge_client.errors import AssetError

_PAINT_HIGH = 3.67
"""Value for the built-in heads."""
MAX_BYTES = 256 << 20
"""Limit for the unpacked arrays of a head."""

Floats = NDArray[np.float32]
Triangles = NDArray[np.uint16] | NDArray[np.uint32]

_CUT_Y = -2.2
"""The body was cut off below this height …"""
_END_Y, _END_SHADE = -5.6, 0.75
"""… and is extended down to this one, where it has this fraction of the light."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head at rest and how the 52 blendshapes move it. One unit is about 8 cm; the origin is between the eyes; axes as in a pose.

    Vertices are sorted: at least one blendshape moves each of the first `moving`, or they are on an eyeball; the others never move.
    """

    points: Floats
    """(vertices, 3)"""
    normals: Floats
    """(vertices, 3), approximately unit length."""
    chart: Floats
    """(vertices, 2): texture coordinates, row 0 at the bottom; for lashes the position along the lid and from root to tip."""
    shade: Floats
    """(vertices,): fraction of the surrounding light that reaches a vertex, 0 to 1."""
    gloss: Floats
    """(vertices,): strength of the highlight."""
    triangles: Triangles
    """(triangles, 3), counter-clockwise in front; all opaque triangles."""
    lash_triangles: Triangles
    """(triangles, 3) of lashes that are painted by a formula."""
    sheer_triangles: Triangles
    """(triangles, 3) with translucent paint."""
    is_double_sided: bool
    """Triangles are visible from behind, too."""
    deltas: Floats
    """(52, moving × 6): for each blendshape and moving vertex the offset of its position and of its normal."""
    moving: int
    eyeballs: tuple[slice, slice] | None
    """The vertices of the left and the right eyeball; None if eyes are drawn as spheres."""
    eye_centres: Floats
    """(2, 3): left, right."""
    eye_radius: float
    gaze_scale: float
    """Scale of the pose's eye rotation: below 1 for eyes that turn about a point far behind them."""
    head_pivot: Floats
    """(3,): the point about which the head turns."""
    neck_pivot: Floats
    """(3,): the point about which the neck turns."""
    lips: tuple[int, int]
    """The vertices in the middle of the upper and the lower lip's edge: their distance is the opening of the mouth."""
    paint: bytes
    """The texture as a JPEG or PNG file, its top row at v = 1."""
    paint_high: float
    """Height of the whole texture at the size it has on the face, in head units."""
    painted: Painted | None
    """Description of its paint, if its colours can be changed."""
    is_built_in: bool
    hairline: Floats | None
    """(n, 3): points from the middle of the forehead to the left temple; None if the cuts of `edge_client.face.hair` do not fit it."""
    usual_cut: str
    """The cut it was made with."""


def load_head(path: Path | None = None) -> Head:
    """Read a head; without a path the default one.

    Raises `AssetError` if the file is missing, damaged, or made for other blendshapes.
    """
    file = path or head_file(DEFAULT_HEAD)
    is_built_in = file.parent == ASSETS
    try:
        packed = file.read_bytes()
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_BYTES:
            raise ValueError(f"it unpacks to {unpacked} bytes, at most {MAX_BYTES} are read")
        with np.load(io.BytesIO(packed), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        return _head_from(arrays, is_built_in=is_built_in)
    except (OSError, EOFError, KeyError, ValueError, IndexError, TypeError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        advice = "reinstall, or bake it with scripts/assets/bake_head" if is_built_in else "make it again with edge-client import-head"
        raise AssetError(f"the head {file} cannot be read ({error}); {advice}") from error


def lengthened(head: Head) -> Head:
    """The same head with a body that extends below the cut and fades into shadow, for tall pictures."""
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
    count_now = len(head.points) + len(lower)
    sides = [(rim[:, 1], rim[:, 0], below[:, 0]), (rim[:, 1], below[:, 0], below[:, 1])]
    return replace(
        head,
        points=np.concatenate([head.points, points]),
        normals=np.concatenate([head.normals, normals]),
        chart=np.concatenate([head.chart, head.chart[lower]]),
        shade=np.concatenate([head.shade, np.full(len(lower), _END_SHADE, np.float32)]),
        gloss=np.concatenate([head.gloss, head.gloss[lower]]),
        triangles=np.concatenate([head.triangles, *(_as_corners(np.stack(side, axis=1), count_now) for side in sides)]),
    )


def _head_from(arrays: dict[str, NDArray[np.generic]], *, is_built_in: bool) -> Head:
    if tuple(str(name) for name in arrays["names"]) != ARKIT_NAMES:
        raise ValueError("it has other blendshapes than ARKit's 52")
    count = len(arrays["points"])
    _check(arrays, count)
    moves = arrays["moves"].astype(np.float32) * arrays["move_scale"].astype(np.float32)[:, None, None]
    bends = arrays["bends"].astype(np.float32) * arrays["bend_scale"].astype(np.float32)[:, None, None]
    eye = arrays["eyes"].astype(np.int8) if "eyes" in arrays else np.zeros(count, np.int8)
    touched = (np.abs(moves).max((0, 2)) > 0) | (eye > 0)
    order = np.lexsort((eye, ~touched))  # order: moved by shapes, the left eyeball, the right one, the rest
    place = np.empty_like(order)
    place[order] = np.arange(count)
    moving, balls = int(touched.sum()), [int((eye == side).sum()) for side in (1, 2)]
    tris = _as_corners(place[arrays["triangles"].astype(np.int64)], count)
    lashes, sheer = (int(arrays[name].astype(np.int64)) if name in arrays else 0 for name in ("lash_triangles", "sheer_triangles"))
    solid = len(tris) - lashes - sheer
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
        triangles=tris[:solid],
        lash_triangles=tris[solid : solid + lashes],
        sheer_triangles=tris[solid + lashes :],
        is_double_sided="double_sided" in arrays and bool(arrays["double_sided"]),
        deltas=np.ascontiguousarray(deltas.reshape(len(ARKIT_NAMES), moving * 6)),
        moving=moving,
        eyeballs=(slice(moving - sum(balls), moving - balls[1]), slice(moving - balls[1], moving)) if "eyes" in arrays else None,
        eye_centres=arrays["eye_centres"].astype(np.float32),
        eye_radius=float(arrays["eye_radius"].astype(np.float32)),
        gaze_scale=float(arrays["gaze_scale"].astype(np.float32)) if "gaze_scale" in arrays else 1.0,
        head_pivot=arrays["pivots"][0].astype(np.float32),
        neck_pivot=arrays["pivots"][1].astype(np.float32),
        lips=(first, second),
        paint=arrays["paint"].astype(np.uint8).tobytes(),
        paint_high=float(arrays["paint_high"].astype(np.float32)) if "paint_high" in arrays else _PAINT_HIGH,
        painted=_painted(arrays),
        is_built_in=is_built_in,
        hairline=arrays["hairline"].astype(np.float32) if "hairline" in arrays else None,
        usual_cut=_usual_cut(arrays),
    )


def _usual_cut(arrays: dict[str, NDArray[np.generic]]) -> str:
    cut = str(arrays["usual_cut"]) if "usual_cut" in arrays else "painted"
    if cut not in get_args(HairChoice):
        raise ValueError(f"it has an unknown haircut, {cut[:20]!r}")
    return cut


def _painted(arrays: dict[str, NDArray[np.generic]]) -> Painted | None:
    if "painted" not in arrays:
        return None
    skin, hair = arrays["painted"].astype(int).tolist()
    return Painted((skin[0], skin[1], skin[2]), (hair[0], hair[1], hair[2]), arrays["regions"].astype(np.uint8).tobytes())


def _as_corners(indexes: NDArray[np.int64], vertices: int) -> Triangles:
    return indexes.astype(np.uint16) if vertices <= 65_536 else indexes.astype(np.uint32)


def _check(arrays: dict[str, NDArray[np.generic]], count: int) -> None:
    """Raise ValueError for inconsistent arrays, indexes out of range, and numbers that are not finite."""
    shapes = len(ARKIT_NAMES)
    wanted: dict[str, tuple[int, ...]] = {
        **{name: (count, 3) for name in ("points", "normals")},
        **{name: (count,) for name in ("shade", "gloss", "eyes") if name in arrays},
        "chart": (count, 2),
        "moves": (shapes, count, 3),
        "bends": (shapes, count, 3),
        "move_scale": (shapes,),
        "bend_scale": (shapes,),
        "eye_centres": (2, 3),
        "eye_radius": (),
        "pivots": (2, 3),
        "lips": (2,),
        "lash_triangles": (),
        **{name: () for name in ("sheer_triangles", "double_sided", "paint_high", "gaze_scale") if name in arrays},
        "triangles": (len(arrays["triangles"]), 3),
        **{name: (len(arrays[name]),) for name in ("paint", "regions") if name in arrays},
        **{name: (2, 3) for name in ("painted",) if name in arrays},
        **{name: (max(2, len(arrays[name])), 3) for name in ("hairline",) if name in arrays},
    }
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has the shape {arrays[name].shape}, not {shape}")
        if name not in ("triangles", "paint", "regions") and not (np.abs(arrays[name].astype(np.float32)) < 1e6).all():
            raise ValueError(f"{name} is not finite, or too large")
    for name in ("triangles", "lips"):
        indexes = arrays[name].astype(np.int64)
        if indexes.size and not 0 <= indexes.min() <= indexes.max() < count:
            raise ValueError(f"{name} names vertices that are not there")
    seen_through = [int(arrays[name].astype(np.int64)) for name in ("lash_triangles", "sheer_triangles") if name in arrays]
    if min(seen_through) < 0 or sum(seen_through) > len(arrays["triangles"]):
        raise ValueError("it has fewer triangles than are seen through")
