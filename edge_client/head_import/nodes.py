"""The tree of nodes: the transform of each node at rest. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.errors import ModelError
from edge_client.head_import.document import Document, Entry, as_entry, listed, name_of, numbers, whole

Matrices = NDArray[np.float64]
"""Shape (n, 4, 4)."""


class Nodes:
    """All nodes of a model, with their world transforms. Each node has at most one parent, and there are no loops."""

    def __init__(self, document: Document) -> None:
        """Read the nodes. Raises `ModelError`."""
        entries = [as_entry(entry, f"nodes[{at}]") for at, entry in enumerate(listed(document.root, "nodes", "nodes"))]
        self.entries = entries
        self.parents = _parents(entries)
        self.names = [name_of(entry, f"node {at}") for at, entry in enumerate(entries)]
        self.world = self._placed([_local(entry, f"nodes[{at}]") for at, entry in enumerate(entries)])

    def is_under(self, node: int, ancestor: int) -> bool:
        """Whether a node is `ancestor` or a descendant of it."""
        while node >= 0:
            if node == ancestor:
                return True
            node = self.parents[node]
        return False

    def _placed(self, local: list[Matrices]) -> Matrices:
        world = np.tile(np.eye(4), (len(local), 1, 1))
        for node in _from_the_roots(self.parents):
            parent = self.parents[node]
            world[node] = local[node] if parent < 0 else world[parent] @ local[node]
        if not np.isfinite(world).all() or np.abs(world).max(initial=0) > 1e12:
            raise ModelError("its nodes are scaled beyond all numbers; apply the scale in the program that made it, and export it again")
        return world


def _parents(entries: list[Entry]) -> list[int]:
    """Index of each node's parent, −1 for a root."""
    parents = [-1] * len(entries)
    for at, entry in enumerate(entries):
        for child in listed(entry, "children", f"nodes[{at}].children"):
            index = whole(child, f"nodes[{at}].children", len(entries) - 1)
            if parents[index] >= 0:
                raise ModelError(f"nodes[{index}] has two parents, nodes[{parents[index]}] and nodes[{at}]; export the model again")
            parents[index] = at
    return parents


def _from_the_roots(parents: list[int]) -> list[int]:
    """All nodes, each after its parent."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(node)
    order = [node for node, parent in enumerate(parents) if parent < 0]
    for node in order:  # grows during the iteration
        order += children[node]
    if len(order) < len(parents):
        looped = min(set(range(len(parents))) - set(order))
        raise ModelError(f"nodes[{looped}] is its own ancestor: its nodes form a loop; export the model again")
    return order


def _local(entry: Entry, where: str) -> Matrices:
    if "matrix" in entry:
        return np.array(numbers(entry["matrix"], f"{where}.matrix", 16)).reshape(4, 4).T
    matrix = np.eye(4)
    turn = numbers(entry.get("rotation", [0, 0, 0, 1]), f"{where}.rotation", 4)
    matrix[:3, :3] = _turned(turn, where) * numbers(entry.get("scale", [1, 1, 1]), f"{where}.scale", 3)
    matrix[:3, 3] = numbers(entry.get("translation", [0, 0, 0]), f"{where}.translation", 3)
    return matrix


def _turned(quaternion: list[float], where: str) -> Matrices:
    length = float(np.linalg.norm(quaternion))
    if length < 1e-6:
        raise ModelError(f"{where}.rotation is no rotation")
    x, y, z, w = (part / length for part in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
