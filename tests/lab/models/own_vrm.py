"""The built-in head as a VRM: its morph targets have arbitrary names, and expressions give their meaning."""

from __future__ import annotations

from typing import Any

import numpy as np

from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, to_weights
from avatar_relay.mouth.viseme_sets import EXPRESSIONS
from avatar_relay.mouth.visemes import visemes_of
from edge_client.face.head import Head
from tests.lab.models.glb import ModelWriter
from tests.lab.models.own_head import mixed_shape, own_head

_MOUTHS = {"aa": "a", "ih": "ɪ", "ou": "u", "ee": "e", "oh": "o"}
_MOODS = ("blink", "blinkleft", "blinkright", "happy", "angry", "sad", "surprised")
_PRESET_1 = {"blinkleft": "blinkLeft", "blinkright": "blinkRight"}
_PRESET_0 = dict(zip(_MOUTHS, "aiueo", strict=True)) | {"happy": "joy", "sad": "sorrow", "blinkleft": "blink_l", "blinkright": "blink_r"}
_BONES = {"head": 2, "neck": 1, "leftEye": 3, "rightEye": 4}
_FACE_NODE, _FACE_MESH = 5, 0


def own_vrm(head: Head, version: int) -> ModelWriter:
    """The head as VRM 1, or as VRM 0, which faces −z. Its expressions are five vowels, lids and four moods."""
    rows: dict[str, dict[str, float]] = {name: dict(EXPRESSIONS[name]) for name in _MOODS}
    for name, ipa in _MOUTHS.items():
        rows[name] = dict(zip(BLENDSHAPE_NAMES, to_weights(visemes_of(ipa)[0].mouth).tolist(), strict=True))
    shapes = {f"M{at}": mixed_shape(head, row) for at, row in enumerate(rows.values())}
    model = own_head(head, shapes, root=np.diag([-1.0, 1, -1, 1]) if version == 0 else None)
    for node in _BONES.values():
        model.json["nodes"][node]["name"] = f"J_{node}"
    model.json["extensions"] = {"VRM": _said_by_0(list(rows))} if version == 0 else {"VRMC_vrm": _said_by_1(list(rows))}
    return model


def _said_by_1(names: list[str]) -> dict[str, Any]:
    binds = [{"morphTargetBinds": [{"node": _FACE_NODE, "index": at, "weight": 1.0}]} for at in range(len(names))]
    preset = {_PRESET_1.get(name, name): bind for name, bind in zip(names, binds, strict=True)}
    bones = {bone: {"node": node} for bone, node in _BONES.items()}
    return {"specVersion": "1.0", "humanoid": {"humanBones": bones}, "expressions": {"preset": preset}}


def _said_by_0(names: list[str]) -> dict[str, Any]:
    groups = [
        {"presetName": _PRESET_0.get(name, name), "name": name, "binds": [{"mesh": _FACE_MESH, "index": at, "weight": 100}]}
        for at, name in enumerate(names)
    ]
    bones = [{"bone": bone, "node": node} for bone, node in _BONES.items()]
    return {"blendShapeMaster": {"blendShapeGroups": groups}, "humanoid": {"humanBones": bones}}
