"""What VRM 0 and 1 define beyond glTF: the bones of nodes, and the morph targets of expressions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_client.head_import.document import Document, Entry, as_entry, extension, inner, listed, number, printable, whole
from edge_client.head_import.nodes import Nodes

_BONES = ("head", "neck", "leftEye", "rightEye")
_SPELT = {"head": "head", "neck": "neck", "neck1": "neck"} | {
    spelling.format(side=side, letter=side[0]): f"{side}Eye"
    for side in ("left", "right")
    for spelling in ("{side}eye", "eye{side}", "eye{letter}", "{letter}eye", "facial{side}eye", "facial{letter}eye")
}
"""Names of bones in common programs, in lower case without punctuation."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A morph target that an expression moves."""

    mesh: int
    target: int
    weight: float


Expressions = dict[str, list[Bind]]


def version_of(document: Document) -> int | None:
    """Return 0 or 1 for VRM, None for plain glTF."""
    if "VRMC_vrm" in inner(document.root, "extensions", "extensions"):
        return 1
    return 0 if "VRM" in inner(document.root, "extensions", "extensions") else None


def bones_of(document: Document, nodes: Nodes) -> dict[str, int]:
    """Find the nodes of head, neck and eyes: as VRM defines them, else by name. Raises `ModelError`."""
    most = len(nodes.entries) - 1
    found: dict[str, int] = {}
    human = extension(document.root, "VRMC_vrm", "the model").get("humanoid")
    if human is not None:
        bones = inner(as_entry(human, "VRMC_vrm.humanoid"), "humanBones", "VRMC_vrm.humanoid")
        for name in _BONES:
            if name in bones:
                found[name] = whole(as_entry(bones[name], f"humanBones.{name}").get("node"), f"humanBones.{name}.node", most)
    old = inner(extension(document.root, "VRM", "the model"), "humanoid", "VRM")
    for bone in (as_entry(bone, "VRM.humanoid.humanBones") for bone in listed(old, "humanBones", "VRM.humanoid.humanBones")):
        if bone.get("bone") in _BONES:
            found[str(bone["bone"])] = whole(bone.get("node"), "VRM.humanoid.humanBones.node", most)
    for node, name in enumerate(nodes.names):
        plain = re.sub("[^a-z0-9]", "", name.rpartition(":")[2].lower())
        if plain in _SPELT and "mesh" not in nodes.entries[node]:
            found.setdefault(_SPELT[plain], node)
    for node, name in enumerate(nodes.names):  # an eye may be a separate mesh, without a bone
        plain = re.sub("[^a-z0-9]", "", name.lower())
        if _SPELT.get(plain, "").endswith("Eye"):
            found.setdefault(_SPELT[plain], node)
    return found


def expressions_of(document: Document, nodes: Nodes) -> Expressions:
    """Return what each expression of a VRM moves, by name. Raises `ModelError`."""
    return _expressions_1(document, nodes) | _expressions_0(document)


def _expressions_1(document: Document, nodes: Nodes) -> Expressions:
    found: Expressions = {}
    groups = inner(extension(document.root, "VRMC_vrm", "the model"), "expressions", "VRMC_vrm")
    for group in ("preset", "custom"):
        for name, value in inner(groups, group, "VRMC_vrm.expressions").items():
            where = f"VRMC_vrm.expressions.{group}.{printable(name)}"
            binds = []
            for bind in listed(as_entry(value, where), "morphTargetBinds", where):
                node = whole(as_entry(bind, where).get("node"), f"{where}.node", len(nodes.entries) - 1)
                mesh = nodes.entries[node].get("mesh")
                binds.append(_bind(document, bind, mesh, number(bind.get("weight", 1.0), f"{where}.weight"), where))
            found[printable(name)] = binds
    return found


def _expressions_0(document: Document) -> Expressions:
    found: Expressions = {}
    master = inner(extension(document.root, "VRM", "the model"), "blendShapeMaster", "VRM")
    for at, value in enumerate(listed(master, "blendShapeGroups", "VRM.blendShapeGroups")):
        where = f"VRM.blendShapeGroups[{at}]"
        group = as_entry(value, where)
        preset = group.get("presetName")
        name = preset if isinstance(preset, str) and preset not in ("", "unknown") else group.get("name")
        binds = []
        for bind in listed(group, "binds", f"{where}.binds"):
            part = number(as_entry(bind, where).get("weight", 100), f"{where}.weight") / 100
            binds.append(_bind(document, bind, bind.get("mesh"), part, where))
        if isinstance(name, str):
            found.setdefault(printable(name), binds)
    return found


def _bind(document: Document, bind: Entry, mesh: object, weight: float, where: str) -> Bind:
    return Bind(whole(mesh, f"{where}.mesh", document.count("meshes") - 1), whole(bind.get("index"), f"{where}.index", 4096), weight)
