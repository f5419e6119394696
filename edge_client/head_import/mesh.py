"""Combines the parts of a model into one mesh in head units: turned, scaled, and cut below the shoulders. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.errors import ModelError
from edge_client.head_import.frame import Facing, Fit, Landmarks, facing, fit
from edge_client.head_import.parts import ModelPart, PartReader
from edge_client.head_import.shapes import ShapeTable, divided, swapped

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_VERTICES = 100_000
MAX_MOVING = 30_000
"""Limit of the head's moving vertices, which a small device blends for each picture."""
_LOWEST_Y, _WIDEST_X = -2.80, 2.45
"""Limits of the region that is drawn of the built-in head, in head units."""
_EYE_SHARE = 0.5


@dataclass(slots=True)
class HeadMesh:
    """The mesh of a head, in head units."""

    points: Floats
    normals: Floats
    uvs: Floats
    tris: Ints
    materials: NDArray[np.int64]
    """(vertices,): index of the material in the file, −1 for none."""
    part_of: Ints
    """(vertices,)"""
    moves: NDArray[np.float32]
    """(52, vertices, 3)"""
    eye: NDArray[np.int8]
    """(vertices,): 1 on the face's left eyeball, 2 on the right one, else 0."""
    facing: Facing
    fit: Fit
    left_out: int
    """Triangles removed because they were too far down or out."""

    def placed(self, spot: Floats) -> Floats:
        """Convert a position in the model's world to head units."""
        return self.fit.scale * (self.facing.turn @ spot) + self.fit.shift


def head_mesh(reader: PartReader, parts: list[ModelPart], table: ShapeTable, *, faces_back: bool) -> HeadMesh:
    """Build the mesh. Swaps the sides in `table` if the file has them swapped. Raises `ModelError`."""
    everything = np.concatenate([part.points for part in parts])
    lids = [_moved(reader, parts, table, f"eyeBlink{side}") if _is_own(table, f"eyeBlink{side}") else None for side in ("Left", "Right")]
    jaw = _moved(reader, parts, table, "jawOpen")
    if jaw is None:
        raise ModelError("the shape that should open its mouth (jawOpen, or aa of VRM) moves nothing")
    middles = [None if lid is None else _middle(everything, lid) for lid in lids]
    found = facing(Landmarks(middles[0], middles[1], _middle(everything, jaw)), everything, faces_back=faces_back)
    if found.sides_swapped:
        swapped(table)
    both = None if middles[0] is None or middles[1] is None else found.turn @ ((middles[0] + middles[1]) / 2)
    fitted = fit(everything @ found.turn.T, jaw, both)
    return _joined(reader, parts, table, found, fitted)


def _is_own(table: ShapeTable, name: str) -> bool:
    return name in table.found and not any(ARKIT_INDEX[name] in pair for pair in table.split)


def _moved(reader: PartReader, parts: list[ModelPart], table: ShapeTable, name: str) -> Floats | None:
    """How far a shape moves each vertex, (all vertices,); None if it moves none."""
    shape, found = ARKIT_INDEX[name], []
    for part in parts:
        moves = np.zeros_like(part.points)
        for target in range(len(part.targets)):
            row = table.targets.get((part.mesh, target))
            if row is not None and row[shape]:
                moves += row[shape] * reader.offsets(part, target)
        found.append(np.linalg.norm(moves, axis=1))
    lengths = np.concatenate(found)
    return lengths if float(lengths.max(initial=0)) > 1e-9 else None


def _middle(points: Floats, lengths: Floats) -> Floats:
    return np.asarray((points * lengths[:, None]).sum(0) / lengths.sum())


def _joined(reader: PartReader, parts: list[ModelPart], table: ShapeTable, found: Facing, fitted: Fit) -> HeadMesh:
    kept: list[tuple[ModelPart, Ints, Ints]] = []
    left_out = 0
    for part in parts:
        places = fitted.scale * (part.points @ found.turn.T) + fitted.shift
        inside = (places[:, 1] > _LOWEST_Y) & (np.abs(places[:, 0]) < _WIDEST_X)
        tris = part.tris[inside[part.tris].all(1)]
        left_out += len(part.tris) - len(tris)
        used, local = np.unique(tris, return_inverse=True)
        if len(used):
            kept.append((part, used, local.reshape(-1, 3)))
    count = sum(len(used) for _, used, _ in kept)
    if not count:
        raise ModelError("nothing of it is where a head has to be; its shapes and its mesh do not fit together")
    if count > MAX_VERTICES:
        raise ModelError(
            f"its head has {count} vertices, at most {MAX_VERTICES} are drawn; reduce the mesh (in Blender: the modifier Decimate)"
        )
    starts = np.cumsum([0, *(len(used) for _, used, _ in kept)])
    points = np.concatenate([part.points[used] for part, used, _ in kept]) @ found.turn.T * fitted.scale + fitted.shift
    eye = _eyes(kept, swap=found.sides_swapped)
    moves = _moves(reader, kept, table, found.turn * fitted.scale, count)
    divided(moves, table, points[:, 0])
    moves[[index for name, index in ARKIT_INDEX.items() if name.startswith("eyeLook")], :, :] *= (eye == 0)[None, :, None]
    moving = int((np.abs(moves).max((0, 2)) > 1e-5).sum())
    if moving > MAX_MOVING:
        raise ModelError(
            f"its shapes move {moving} vertices, at most {MAX_MOVING} are; reduce the mesh (in Blender: the modifier Decimate)"
        )
    return HeadMesh(
        points=points,
        normals=np.concatenate([part.normals[used] for part, used, _ in kept]) @ found.turn.T,
        uvs=np.concatenate([part.uvs[used] for part, used, _ in kept]),
        tris=np.concatenate([tris + start for (_, _, tris), start in zip(kept, starts, strict=False)]),
        materials=np.concatenate([np.full(len(used), -1 if part.material is None else part.material) for part, used, _ in kept]),
        part_of=np.concatenate([np.full(len(used), at) for at, (_, used, _) in enumerate(kept)]),
        moves=moves,
        eye=eye,
        facing=found,
        fit=fitted,
        left_out=left_out,
    )


def _eyes(kept: list[tuple[ModelPart, Ints, Ints]], *, swap: bool) -> NDArray[np.int8]:
    marks = []
    for part, used, _ in kept:
        mark = np.zeros(len(used), np.int8)
        for bone, number in (("leftEye", 2 if swap else 1), ("rightEye", 1 if swap else 2)):
            if bone in part.share:
                mark[part.share[bone][used] > _EYE_SHARE] = number
        marks.append(mark)
    return np.concatenate(marks)


def _moves(
    reader: PartReader, kept: list[tuple[ModelPart, Ints, Ints]], table: ShapeTable, turn: Floats, count: int
) -> NDArray[np.float32]:
    """Compute all 52 shapes, one morph target after the other."""
    moves = np.zeros((len(ARKIT_NAMES), count, 3), np.float32)
    start = 0
    for part, used, _ in kept:
        for target in range(len(part.targets)):
            row = table.targets.get((part.mesh, target))
            if row is None:
                continue
            offsets = (reader.offsets(part, target)[used] @ turn.T).astype(np.float32)
            for shape in np.flatnonzero(row):
                moves[shape, start : start + len(used)] += np.float32(row[shape]) * offsets
        start += len(used)
    return moves
