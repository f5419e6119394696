"""The built-in head as a glTF 2.0 binary model: metres, y up, bones, a skin, separate eyeballs and lashes.

The head is CC0 (`edge_client/face/assets/heads-LICENSE.md`), and so is the resulting model.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.face.gl.eye_paint import eye_picture
from edge_client.face.gl.meshes import eye_sphere
from edge_client.face.head import Head
from tests.lab.models.glb import ModelWriter

Floats = NDArray[np.float32]

UNIT_M, EYES_M = 0.08, 1.60
"""Length of a head unit, and height of the eyes, in metres."""
LICENCE = "CC0 1.0: derived from MakeHuman's base mesh and the Face Units by Mika Suominen"

_NECK, _HEAD, _LEFT, _RIGHT = 1, 2, 3, 4


def arkit_shapes(head: Head) -> dict[str, Floats]:
    """All 52 shapes as offsets of all vertices in head units."""
    moves = np.zeros((len(ARKIT_NAMES), len(head.points), 3), np.float32)
    moves[:, : head.moving] = head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)[..., :3]
    return dict(zip(ARKIT_NAMES, moves, strict=True))


def mixed_shape(head: Head, weights: Mapping[str, float]) -> Floats:
    """A weighted sum of several shapes."""
    shapes = arkit_shapes(head)
    return np.asarray(sum(weight * shapes[name] for name, weight in weights.items()), np.float32)


def own_head(
    head: Head, shapes: Mapping[str, Floats], *, root: NDArray[np.float64] | None = None, wide_indexes: bool = False
) -> ModelWriter:
    """The model with these morph targets. `root` is the matrix of the root node, for other units and axes."""
    model = ModelWriter()
    model.json["asset"]["copyright"] = LICENCE
    _add_nodes(model, head, root)
    skin = model.texture(head.paint, "image/jpeg")
    lash = model.texture(_encoded(_lash_picture(), "WEBP"), "image/webp")
    eye = model.texture(_encoded(eye_picture(None)[::-1], "PNG"), "image/png")
    model.add("materials", _material("Skin", skin))
    model.add("materials", _material("Lashes", lash) | {"alphaMode": "BLEND", "doubleSided": True})
    model.add("materials", _material("Eyes", eye, rough=0.2))
    index = np.uint32 if wide_indexes else np.uint16
    primitives = [
        _primitive(model, head, shapes, head.triangles.astype(index), 0),
        _primitive(model, head, shapes, head.lash_triangles.astype(index), 1),
    ]
    face = model.add("meshes", {"name": "Face", "primitives": primitives, "extras": {"targetNames": list(shapes)}})
    binds = np.stack([np.linalg.inv(_stand(head, joint)).T.ravel() for joint in (_NECK, _HEAD)]).astype(np.float32)
    rig = model.add("skins", {"joints": [_NECK, _HEAD], "inverseBindMatrices": model.accessor(binds)})
    model.add("nodes", {"name": "Face", "mesh": face, "skin": rig})
    eyeball = model.add("meshes", {"name": "Eyeball", "primitives": [_eyeball(model, head)]})
    for bone in (_LEFT, _RIGHT):
        model.json["nodes"][bone]["children"] = [model.add("nodes", {"name": f"Ball of {bone}", "mesh": eyeball})]
    model.json["scenes"] = [{"nodes": [0, 5]}]
    return model


def add_ball(model: ModelWriter, side: int) -> None:
    """Add a static sphere of `side` × `side` vertices around the head."""
    turn, lean = np.meshgrid(np.linspace(0, 2 * np.pi, side), np.linspace(0.2, np.pi - 0.2, side))
    ball = np.stack([1.2 * np.sin(lean) * np.cos(turn), np.cos(lean) + 0.2, 1.2 * np.sin(lean) * np.sin(turn) - 0.9], axis=2).reshape(-1, 3)
    index = np.arange(side * side, dtype=np.uint32).reshape(side, side)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    corners = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    attributes = {
        "POSITION": model.accessor(_metres(ball).astype(np.float32)),
        "TEXCOORD_0": model.accessor(np.stack([turn / 7, lean / 4], axis=2).reshape(-1, 2).astype(np.float32)),
    }
    primitive = {"attributes": attributes, "indices": model.accessor(corners.ravel()), "material": 0}
    node = model.add("nodes", {"name": "Ball", "mesh": model.add("meshes", {"name": "Ball", "primitives": [primitive]})})
    model.json["scenes"][0]["nodes"].append(node)


def _add_nodes(model: ModelWriter, head: Head, root: NDArray[np.float64] | None) -> None:
    neck, skull = _metres(head.neck_pivot), _metres(head.head_pivot)
    model.add("nodes", {"name": "Avatar", "children": [_NECK]} | ({} if root is None else {"matrix": root.T.ravel().tolist()}))
    model.add("nodes", {"name": "Neck", "translation": neck.tolist(), "children": [_HEAD]})
    model.add("nodes", {"name": "Head", "translation": (skull - neck).tolist(), "children": [_LEFT, _RIGHT]})
    for side, name in enumerate(("LeftEye", "RightEye")):
        model.add("nodes", {"name": name, "translation": (_metres(head.eye_centres[side]) - skull).tolist()})


def _stand(head: Head, joint: int) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = _metres(head.neck_pivot if joint == _NECK else head.head_pivot)
    return matrix


def _primitive(model: ModelWriter, head: Head, shapes: Mapping[str, Floats], tris: NDArray[Any], material: int) -> dict[str, Any]:
    used, local = np.unique(tris, return_inverse=True)
    lash = material == 1
    uvs = head.chart[used] * (1, 1) if lash else head.chart[used] * (1, -1) + (0, 1)
    follows = np.clip((head.points[used, 1] + 1.5) / 0.75, 0, 1)[:, None]
    weights = np.concatenate([1 - follows, follows, np.zeros((len(used), 2))], axis=1).astype(np.float32)
    joints = np.tile(np.array((0, 1, 0, 0), np.uint8), (len(used), 1))
    attributes = {
        "POSITION": model.accessor(_metres(head.points[used]).astype(np.float32)),
        "NORMAL": model.accessor(np.ascontiguousarray(head.normals[used])),
        "TEXCOORD_0": model.accessor(uvs.astype(np.float32)),
        "JOINTS_0": model.accessor(joints),
        "WEIGHTS_0": model.accessor(weights),
    }
    targets = [{"POSITION": model.sparse((moves[used] * UNIT_M).astype(np.float32))} for moves in shapes.values()]
    indices = model.accessor(local.ravel().astype(tris.dtype))
    return {"attributes": attributes, "indices": indices, "material": material} | ({"targets": targets} if targets else {})


def _eyeball(model: ModelWriter, head: Head) -> dict[str, Any]:
    directions, tris = eye_sphere()
    places = (directions * head.eye_radius * UNIT_M).astype(np.float32)
    uvs = (directions[:, :2] * (0.5, -0.5) + 0.5).astype(np.float32)
    attributes = {"POSITION": model.accessor(places), "NORMAL": model.accessor(directions), "TEXCOORD_0": model.accessor(uvs)}
    return {"attributes": attributes, "indices": model.accessor(tris.ravel()), "material": 2}


def _metres(points: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(points, np.float64) * UNIT_M + (0, EYES_M, 0)


def _material(name: str, texture: int, *, rough: float = 0.6) -> dict[str, Any]:
    return {"name": name, "pbrMetallicRoughness": {"baseColorTexture": {"index": texture}, "metallicFactor": 0, "roughnessFactor": rough}}


def _lash_picture() -> NDArray[np.uint8]:
    """A texture of the lash strands that the built-in head draws procedurally, RGBA; root at the top, tip at the bottom."""
    along, tip = np.meshgrid((np.arange(1024) + 0.5) / 1024, (np.arange(64) + 0.5) / 64)
    across = np.abs((along + tip * 0.014) * 130 % 1 - 0.5) * 2
    strand = 1 + (np.clip((0.85 - across) / 0.6, 0, 1) - 1) * np.clip(tip / 0.35, 0, 1)
    alpha = 0.8 * strand * np.clip((0.95 - tip) / 0.85, 0, 1)
    dark = np.broadcast_to(np.array((0.075, 0.05, 0.045)), (*alpha.shape, 3))
    return np.asarray(np.rint(np.concatenate([dark, alpha[..., None]], axis=2) * 255), np.uint8)


def _encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    return file.getvalue()
