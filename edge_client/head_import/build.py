"""Converts a model's bytes to the arrays of a head, with a report. Pure."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.head_import.document import Document
from edge_client.head_import.extensions import check_extensions
from edge_client.head_import.glb import read_model_file
from edge_client.head_import.materials import Material, paint, read_material, region_of
from edge_client.head_import.mesh import HeadMesh, head_mesh
from edge_client.head_import.nodes import Nodes
from edge_client.head_import.parts import PartReader, vertex_normals
from edge_client.head_import.report import Report
from edge_client.head_import.shade import shade
from edge_client.head_import.shapes import shape_table
from edge_client.head_import.vrm import bones_of, expressions_of, version_of

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]

_HEAD_PIVOT, _NECK_PIVOT = np.array((0.0, -0.332, -0.695)), np.array((0.0, -1.403, -1.117))
"""Pivots of the built-in head, used if a model has no bones."""
_PIVOT_OFF = 0.8
"""A bone further than this from the built-in head's pivot is not trusted to be what its name suggests."""
_EYE_DEPTH = 0.07
"""Distance of an eye's centre behind the lids, if the model does not define it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported head, and its report."""

    arrays: Arrays
    """The arrays that `load_head` reads."""
    report: Report


def import_model(data: bytes) -> Imported:
    """Convert a glTF 2.0 binary or a VRM to a head. Raises `ModelError`."""
    document = Document(read_model_file(data))
    check_extensions(document)
    nodes = Nodes(document)
    bones = bones_of(document, nodes)
    reader = PartReader(document, nodes, bones)
    parts = reader.read()
    table = shape_table(reader, parts, expressions_of(document, nodes))
    version = version_of(document)
    mesh = head_mesh(reader, parts, table, faces_back=version == 0)
    numbers, which = np.unique(mesh.materials, return_inverse=True)
    materials = [read_material(document, int(number) if number >= 0 else None) for number in numbers]
    texture = paint(document, materials, [region_of(mesh.uvs[which == at]) for at in range(len(materials))], _face_of(mesh, which))
    scale, shift = (np.array([place[part] for place in texture.places])[which] for part in (0, 1))
    chart = mesh.uvs * scale + shift
    chart[:, 1] = 1 - chart[:, 1]
    moving = _moving(mesh)
    arrays = _packed(mesh, moving, materials, which, chart, texture.pixels)
    arrays |= _eyes_and_pivots(mesh, nodes, bones)
    report = Report(
        kind="glTF" if version is None else f"VRM {version}",
        table=table,
        facing=mesh.facing,
        metres_high=2.204 / mesh.fit.scale,
        vertices=len(mesh.points),
        moving=int(moving.sum()),
        triangles=len(mesh.tris),
        left_out=mesh.left_out,
        materials=[material.name for material in materials],
        texture_size=(texture.pixels.shape[1], len(texture.pixels)),
        bones=sorted(bones),
        has_eyeballs=bool((mesh.eye > 0).any()),
    )
    return Imported(arrays, report)


def _face_of(mesh: HeadMesh, which: NDArray[np.int64]) -> int:
    """The material that the shapes move most."""
    moved = np.linalg.norm(mesh.moves, axis=2).sum(0)
    return int(np.bincount(which, moved).argmax())


def _moving(mesh: HeadMesh) -> NDArray[np.bool_]:
    """Which vertices move; computed shape by shape, as all at once would need much memory."""
    moved = mesh.eye > 0
    for moves in mesh.moves:
        moved = moved | (np.abs(moves).max(1) > 1e-5)
    return np.asarray(moved)


def _packed(
    mesh: HeadMesh,
    moving: NDArray[np.bool_],
    materials: list[Material],
    which: NDArray[np.int64],
    chart: Floats,
    pixels: NDArray[np.uint8],
) -> Arrays:
    sheer = np.array([material.is_sheer for material in materials])[which][mesh.tris].any(1)
    open_mouth = mesh.points + mesh.moves[ARKIT_INDEX["jawOpen"]]
    solid = mesh.tris[~sheer] if (~sheer).any() else mesh.tris
    light = np.maximum(*(shade(places, mesh.normals, solid) for places in (mesh.points, open_mouth)))
    bends = _bends(mesh, moving)
    move_scale = np.maximum(np.abs(mesh.moves).max((1, 2)), 1e-9) / 32767
    bend_scale = np.maximum(np.abs(bends).max((1, 2)), 1e-9) / 127
    index = np.uint16 if len(mesh.points) <= 65_536 else np.uint32
    has_alpha = bool(sheer.any())
    return {
        "names": np.array(ARKIT_NAMES),
        "points": mesh.points.astype(np.float32),
        "normals": mesh.normals.astype(np.float16),
        "chart": chart.astype(np.float32),
        "shade": light.astype(np.float16),
        "gloss": np.array([material.gloss for material in materials])[which].astype(np.float16),
        "triangles": np.concatenate([mesh.tris[~sheer], mesh.tris[sheer]]).astype(index),
        "lash_triangles": np.array(0),
        "sheer_triangles": np.array(int(sheer.sum())),
        "double_sided": np.array(any(material.is_double_sided for material in materials)),
        "eyes": mesh.eye,
        "moves": np.rint(mesh.moves / move_scale[:, None, None]).astype(np.int16),
        "move_scale": move_scale.astype(np.float32),
        "bends": np.rint(bends / bend_scale[:, None, None]).astype(np.int8),
        "bend_scale": bend_scale.astype(np.float32),
        "lips": np.array(_lips(mesh)),
        "paint": np.frombuffer(_encoded(pixels, has_alpha=has_alpha), np.uint8),
        "paint_high": np.array(_paint_high(mesh, moving, which, chart, len(pixels) / pixels.shape[1]), np.float32),
    }


def _encoded(pixels: NDArray[np.uint8], *, has_alpha: bool) -> bytes:
    file = io.BytesIO()
    if has_alpha:
        Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=2)
    else:
        Image.fromarray(pixels[..., :3].copy()).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _bends(mesh: HeadMesh, moving: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How each shape turns the normals. Vertices of one part at the same position count as one, so that texture seams do not show."""
    keys = np.concatenate([np.rint(mesh.points * 1e4), mesh.part_of[:, None]], axis=1).astype(np.int64)
    _, first, one = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    one = one.reshape(-1)
    used, local = np.unique(one[mesh.tris[moving[mesh.tris].any(1)]], return_inverse=True)
    tris, corners = local.reshape(-1, 3), first[used]  # skips triangles that do not move
    points, turning = mesh.points[corners], np.flatnonzero(moving)
    rest, which = vertex_normals(points, tris), np.searchsorted(used, one[turning])
    bends = np.zeros(mesh.moves.shape, np.float32)
    for shape, moves in enumerate(mesh.moves):
        if moves.any():
            bends[shape, turning] = (vertex_normals(points + moves[corners], tris) - rest)[which]
    return bends


def _lips(mesh: HeadMesh) -> tuple[int, int]:
    """Vertices in the middle of both lips' edges: close together at rest, and separated by the jaw."""
    fall = np.linalg.norm(mesh.moves[ARKIT_INDEX["jawOpen"]], axis=1)
    middle = (np.abs(mesh.points[:, 0]) < 0.06) & (mesh.eye == 0) & (mesh.points[:, 1] < 0)
    lower, upper = (np.flatnonzero(middle & near) for near in (fall > 0.45 * fall.max(), fall < 0.25 * fall.max()))
    if not len(lower) or not len(upper):
        return 0, 0
    lower, upper = (side[np.argsort(-mesh.points[side, 2])[:400]] for side in (lower, upper))
    gaps = np.linalg.norm(mesh.points[upper, None] - mesh.points[lower][None], axis=2)
    above, below = np.nonzero(gaps < gaps.min() + 0.012)
    front = int(np.argmax(mesh.points[upper[above], 2] + mesh.points[lower[below], 2]))
    return int(upper[above[front]]), int(lower[below[front]])


def _paint_high(mesh: HeadMesh, moving: NDArray[np.bool_], which: NDArray[np.int64], chart: Floats, aspect: float) -> float:
    """Height of the whole texture at the size it has on the face, in head units."""
    of_face = (which == _face_of(mesh, which)) & moving
    tris = mesh.tris[of_face[mesh.tris].all(1)]
    sides = [points[tris[:, 1:]] - points[tris[:, :1]] for points in (mesh.points, chart)]
    area = np.linalg.norm(np.cross(sides[0][:, 0], sides[0][:, 1]), axis=1)
    charted = np.abs(sides[1][:, 0, 0] * sides[1][:, 1, 1] - sides[1][:, 0, 1] * sides[1][:, 1, 0])
    return float(np.clip(np.sqrt(aspect * np.median(area / np.maximum(charted, 1e-9))) if len(tris) else 4.0, 0.1, 100))


def _eyes_and_pivots(mesh: HeadMesh, nodes: Nodes, bones: dict[str, int]) -> Arrays:
    centres, radii, reach = [], [], 1.0
    for number, side, bone in ((1, 1.0, "leftEye"), (2, -1.0, "rightEye")):
        ball = mesh.points[mesh.eye == number]
        name = bone if not mesh.facing.sides_swapped else {"leftEye": "rightEye", "rightEye": "leftEye"}[bone]
        if len(ball):
            middle = (ball.min(0) + ball.max(0)) / 2
            has_bone = name in bones and "mesh" not in nodes.entries[bones[name]]
            centres.append(mesh.placed(nodes.world[bones[name]][:3, 3]) if has_bone else middle)
            radii.append(float(np.ptp(ball, axis=0)[:2].max()) / 2)
            reach = min(reach, radii[-1] / max(float(ball[:, 2].max() - centres[-1][2]), 1e-3))
        else:
            fall = np.linalg.norm(mesh.moves[ARKIT_INDEX["eyeBlinkLeft" if side > 0 else "eyeBlinkRight"]], axis=1)
            lid = (mesh.points * fall[:, None]).sum(0) / fall.sum() if fall.any() else np.array((0.285 * side, 0.0, 0.07))
            centres.append(lid - (0, 0, _EYE_DEPTH))
            radii.append(0.145)
    pivots = []
    for bone, default in (("head", _HEAD_PIVOT), ("neck", _NECK_PIVOT)):
        spot = mesh.placed(nodes.world[bones[bone]][:3, 3]) if bone in bones else default
        pivots.append(spot if np.abs(spot - default).max() < _PIVOT_OFF else default)
    return {
        "eye_centres": np.stack(centres).astype(np.float32),
        "eye_radius": np.array(max(radii), np.float32),
        "gaze_scale": np.array(max(0.05, reach), np.float32),  # irises that turn about a far point turn less
        "pivots": np.stack(pivots).astype(np.float32),
    }
