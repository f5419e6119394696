"""The parts of a model: each primitive of each mesh that a node references, in world coordinates at rest. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.errors import ModelError
from edge_client.head_import.accessors import accessor_count, read_floats, read_whole
from edge_client.head_import.document import Document, Entry, as_entry, extension, inner, listed, name_of, number, numbers, whole
from edge_client.head_import.nodes import Nodes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_VERTICES = 400_000
MAX_TRIANGLES = 800_000
"""Limit for the whole model, before the part below the shoulders is removed."""
MAX_TARGETS = 1024
MAX_JOINTS = 4096
_FAN, _STRIP, _TRIANGLES = 6, 5, 4


@dataclass(slots=True)
class ModelPart:
    """One primitive."""

    name: str
    mesh: int
    material: int | None
    points: Floats
    """(n, 3)"""
    normals: Floats
    """(n, 3), of unit length."""
    uvs: Floats
    """(n, 2), v down, with the material's transform applied."""
    tris: Ints
    """(m, 3), counter-clockwise in front."""
    linear: Floats
    """(n, 3, 3) or (1, 3, 3): transforms offsets of the morph targets to the world."""
    targets: tuple[int, ...]
    """Accessors of the offsets, −1 for a target without one."""
    target_names: tuple[str, ...]
    share: dict[str, Floats]
    """By bone: its weight for each vertex, (n,)."""


class PartReader:
    """Reads parts, and later their morph targets one by one, so that a model with many fits into memory."""

    def __init__(self, document: Document, nodes: Nodes, bones: dict[str, int]) -> None:
        self._document, self._nodes, self._bones = document, nodes, bones
        self._vertices = self._triangles = 0

    def read(self) -> list[ModelPart]:
        """Read all parts that consist of triangles. Raises `ModelError`."""
        found: list[ModelPart] = []
        for node, entry in enumerate(self._nodes.entries):
            if "mesh" in entry:
                index = whole(entry["mesh"], f"nodes[{node}].mesh")
                mesh, where = self._document.entry("meshes", index, f"nodes[{node}]"), f"meshes[{index}]"
                for place, primitive in enumerate(listed(mesh, "primitives", f"{where}.primitives")):
                    name = f"{where}.primitives[{place}]"
                    part = self._part(node, index, mesh, as_entry(primitive, name), name)
                    found += [part] if part is not None else []
        if not found:
            raise ModelError("it shows no mesh of triangles; export the head as a mesh")
        return found

    def offsets(self, part: ModelPart, target: int) -> Floats:
        """Return how a morph target moves the vertices of a part, in world coordinates, (n, 3). Raises `ModelError`."""
        moves = self._local_offsets(part, target)
        return np.asarray(np.einsum("nij,nj->ni", np.broadcast_to(part.linear, (len(moves), 3, 3)), moves))

    def is_empty(self, part: ModelPart, target: int) -> bool:
        """Whether a morph target moves nothing: exporters leave names without content. Raises `ModelError`."""
        return not self._local_offsets(part, target).any()

    def _local_offsets(self, part: ModelPart, target: int) -> NDArray[np.float32]:
        if part.targets[target] < 0:
            return np.zeros((len(part.points), 3), np.float32)
        moves = read_floats(self._document, part.targets[target], "VEC3", f"{part.name}, target {part.target_names[target]}")
        if len(moves) != len(part.points):
            raise ModelError(f"{part.name}, target {part.target_names[target]} has {len(moves)} offsets for {len(part.points)} vertices")
        return moves

    def _part(self, node: int, index: int, mesh: Entry, primitive: Entry, where: str) -> ModelPart | None:
        if "KHR_draco_mesh_compression" in inner(primitive, "extensions", where):
            raise ModelError(f"{where} is compressed with Draco; decompress it: gltf-transform copy model.glb plain.glb")
        mode = whole(primitive.get("mode", _TRIANGLES), f"{where}.mode", _FAN)
        attributes = inner(primitive, "attributes", where)
        if mode < _TRIANGLES or "POSITION" not in attributes:
            return None  # points and lines have no surface
        accessor = whole(attributes["POSITION"], f"{where}.POSITION")
        self._vertices += accessor_count(self._document, accessor, where)
        if self._vertices > MAX_VERTICES:
            raise ModelError(f"it has more than {MAX_VERTICES} vertices; reduce the mesh (in Blender: the modifier Decimate)")
        local = read_floats(self._document, accessor, "VEC3", f"{where}.POSITION").astype(np.float64)
        matrices, share = self._follows(node, attributes, len(local), where)
        points = np.einsum("nij,nj->ni", np.broadcast_to(matrices[:, :3, :3], (len(local), 3, 3)), local) + matrices[:, :3, 3]
        tris = self._corners(primitive, mode, len(local), where)
        linear = matrices[:, :3, :3]
        if float(np.median(np.linalg.det(linear))) < 0:
            tris = tris[:, ::-1]  # mirrored
        material = primitive.get("material")
        targets, names = self._targets(mesh, primitive, where)
        return ModelPart(
            name=name_of(mesh, where),
            mesh=index,
            material=None if material is None else whole(material, f"{where}.material", self._document.count("materials") - 1),
            points=points,
            normals=self._normals(attributes, linear, points, tris, where),
            uvs=self._uvs(attributes, material, len(local), where),
            tris=tris,
            linear=linear,
            targets=targets,
            target_names=names,
            share=share,
        )

    def _follows(self, node: int, attributes: Entry, count: int, where: str) -> tuple[Floats, dict[str, Floats]]:
        """Return a matrix for each vertex, or one for all, and the weights of the bones."""
        under = {bone: np.full(count, float(self._nodes.is_under(node, at))) for bone, at in self._bones.items()}
        if "skin" not in self._nodes.entries[node] or "JOINTS_0" not in attributes:
            return self._nodes.world[node][None], under
        skin_index = whole(self._nodes.entries[node]["skin"], f"nodes[{node}].skin")
        skin, name = self._document.entry("skins", skin_index, f"nodes[{node}]"), f"skins[{skin_index}]"
        joints = [whole(joint, f"{name}.joints", len(self._nodes.entries) - 1) for joint in listed(skin, "joints", f"{name}.joints")]
        if not 0 < len(joints) <= MAX_JOINTS:
            raise ModelError(f"{name} has {len(joints)} joints, 1 to {MAX_JOINTS} are read")
        poses = self._nodes.world[joints]
        if "inverseBindMatrices" in skin:
            binds = read_floats(self._document, whole(skin["inverseBindMatrices"], f"{name}.inverseBindMatrices"), "MAT4", name)
            if len(binds) < len(joints):
                raise ModelError(f"{name} has {len(binds)} inverse bind matrices for {len(joints)} joints")
            poses = poses @ binds[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
        held = read_whole(self._document, whole(attributes["JOINTS_0"], f"{where}.JOINTS_0"), "VEC4", f"{where}.JOINTS_0", len(joints))
        weights = read_floats(self._document, whole(attributes.get("WEIGHTS_0"), f"{where}.WEIGHTS_0"), "VEC4", f"{where}.WEIGHTS_0")
        if len(held) != count or len(weights) != count:
            raise ModelError(f"{where} has joints for {len(held)} and weights for {len(weights)} of {count} vertices")
        weights = np.maximum(weights, 0)
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-6)
        matrices = sum(weights[:, at, None, None] * poses[held[:, at]] for at in range(4))
        shares = {}
        for bone, at in self._bones.items():
            follows = np.array([float(self._nodes.is_under(joint, at)) for joint in joints])
            shares[bone] = (follows[held] * weights).sum(1)
        return np.asarray(matrices), shares

    def _corners(self, primitive: Entry, mode: int, count: int, where: str) -> Ints:
        if "indices" in primitive:
            corners = read_whole(self._document, whole(primitive["indices"], f"{where}.indices"), "SCALAR", f"{where}.indices", count)[:, 0]
        else:
            corners = np.arange(count)
        if mode == _TRIANGLES:
            tris = corners[: len(corners) // 3 * 3].reshape(-1, 3)
        elif mode == _STRIP:
            tris = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
            tris[1::2] = tris[1::2, ::-1]
        else:
            tris = np.stack([np.full(max(0, len(corners) - 2), corners[0] if count else 0), corners[1:-1], corners[2:]], axis=1)
        self._triangles += len(tris)
        if self._triangles > MAX_TRIANGLES:
            raise ModelError(f"it has more than {MAX_TRIANGLES} triangles; reduce the mesh (in Blender: the modifier Decimate)")
        return tris

    def _normals(self, attributes: Entry, linear: Floats, points: Floats, tris: Ints, where: str) -> Floats:
        if "NORMAL" not in attributes:
            return vertex_normals(points, tris)
        found = read_floats(self._document, whole(attributes["NORMAL"], f"{where}.NORMAL"), "VEC3", f"{where}.NORMAL").astype(np.float64)
        if len(found) != len(points):
            raise ModelError(f"{where} has {len(found)} normals for {len(points)} vertices")
        turned = np.einsum("nij,nj->ni", np.broadcast_to(linear, (len(found), 3, 3)), found)  # assumes uniform scales
        return np.asarray(turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12))

    def _uvs(self, attributes: Entry, material: object, count: int, where: str) -> Floats:
        used: Entry = {}
        if isinstance(material, int):
            entry = self._document.entry("materials", material, where)
            used = inner(inner(entry, "pbrMetallicRoughness", "material"), "baseColorTexture", "material")
        moved = extension(used, "KHR_texture_transform", "baseColorTexture")
        channel = f"TEXCOORD_{whole(moved.get('texCoord', used.get('texCoord', 0)), 'texCoord', 8)}"
        if channel not in attributes:
            return np.zeros((count, 2))
        uvs = read_floats(self._document, whole(attributes[channel], f"{where}.{channel}"), "VEC2", f"{where}.{channel}").astype(np.float64)
        if len(uvs) != count:
            raise ModelError(f"{where} has {len(uvs)} texture coordinates for {count} vertices")
        if not moved:
            return uvs
        angle = number(moved.get("rotation", 0), "KHR_texture_transform.rotation")
        uvs = uvs * numbers(moved.get("scale", [1, 1]), "KHR_texture_transform.scale", 2)
        uvs = uvs @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.asarray(uvs + numbers(moved.get("offset", [0, 0]), "KHR_texture_transform.offset", 2))

    def _targets(self, mesh: Entry, primitive: Entry, where: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        targets = listed(primitive, "targets", f"{where}.targets")
        if len(targets) > MAX_TARGETS:
            raise ModelError(f"{where} has {len(targets)} morph targets, at most {MAX_TARGETS} are read")
        places = []
        for at, target in enumerate(targets):
            accessor = as_entry(target, f"{where}.targets[{at}]").get("POSITION")
            places.append(-1 if accessor is None else whole(accessor, f"{where}.targets[{at}].POSITION"))
        names: list[str] = []
        for holder in (mesh, primitive):  # the older exporter of UniVRM stores the names in the primitive
            extras = holder.get("extras")
            told = extras.get("targetNames") if isinstance(extras, dict) else None
            if isinstance(told, list) and len(told) == len(places):
                names = [str(name)[:80] for name in told]
                break
        return tuple(places), tuple(names or [f"target {at}" for at in range(len(places))])


def vertex_normals(points: Floats, tris: Ints) -> Floats:
    """Compute unit normals of vertices, weighted by area."""
    if not len(tris):
        return np.tile((0.0, 0.0, 1.0), (len(points), 1))
    face = np.cross(points[tris[:, 1]] - points[tris[:, 0]], points[tris[:, 2]] - points[tris[:, 0]])
    total = np.stack([np.bincount(tris.ravel(), np.repeat(face[:, axis], 3), len(points)) for axis in range(3)], axis=1)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
