"""Maps a model's morph targets and expressions to ARKit's 52 shapes, and substitutes those that are missing. Pure.

Everything is linear, so the result is one table: each shape as a weighted sum of morph targets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from avatar_relay.media import NameSet
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, to_weights
from avatar_relay.mouth.viseme_sets import expression_named, viseme_named
from avatar_relay.spellings import map_columns
from edge_client.errors import ModelError
from edge_client.head_import.parts import ModelPart, PartReader
from edge_client.head_import.vrm import Bind, Expressions

Floats = NDArray[np.float64]
Targets = dict[tuple[int, int], Floats]
"""For each (mesh, morph target) in use, its weight in each of the 52 shapes, (52,)."""

_SIDES = ("Left", "Right")
PAIRS = tuple((ARKIT_INDEX[f"{stem}Left"], ARKIT_INDEX[f"{stem}Right"]) for stem in sorted({
    name.removesuffix("Left") for name in ARKIT_NAMES if name.endswith("Left")
}))  # fmt: skip
"""Indexes of shapes that mirror each other."""
_MOVES_A_SIDE_ONLY = tuple(pair for pair in PAIRS if not ARKIT_NAMES[pair[0]].startswith(("jaw", "mouthLeft")))
_STAND_INS = {"mouthClose": ("jawOpen", -1.0), "mouthFunnel": ("mouthPucker", 0.8), "mouthPucker": ("mouthFunnel", 0.8)} | {
    f"{name}{side}": (f"{other}{side}", part)
    for side in _SIDES
    for name, other, part in (("mouthStretch", "mouthSmile", 0.5), ("mouthSmile", "mouthStretch", 0.7), ("cheekSquint", "eyeSquint", 0.5))
}
"""Substitutes of a shape, and their weights. `mouthClose` shuts what `jawOpen` opened."""
_CAUTION = 0.05
"""A shape that contributes less than about this to the expressions stays at rest: regularises the solution."""


@dataclass(slots=True)
class ShapeTable:
    """Composition of each shape."""

    targets: Targets = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    stand_ins: dict[str, str] = field(default_factory=dict)
    """Maps a shape to its substitute."""
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Names in the file without a meaning here."""
    empty: list[str] = field(default_factory=list)
    """Names in the file that move nothing."""
    split: list[tuple[int, int]] = field(default_factory=list)
    """Pairs whose sum is known, to be divided into the sides of the face."""


def shape_table(reader: PartReader, parts: list[ModelPart], expressions: Expressions) -> ShapeTable:
    """Find all shapes. Raises `ModelError` if none opens the mouth."""
    moving = {(part.mesh, target) for part in parts for target in range(len(part.targets)) if not reader.is_empty(part, target)}
    pool, empty = _pool(parts, expressions, moving)
    names = list(pool)
    table = ShapeTable(empty=empty)
    weights = np.zeros((len(ARKIT_NAMES), len(names)))
    named = map_columns(names)
    for shape, columns in named.shapes.items():
        weights[shape, list(columns)] = 1.0  # both, if there are two halves
        table.found.append(ARKIT_NAMES[shape])
    for left, right in _MOVES_A_SIDE_ONLY:
        if left in named.shapes and named.shapes[left] == named.shapes.get(right):
            weights[[left, right]] *= 0.5
            table.split.append((left, right))
    spoken = {column: row for column, name in enumerate(names) if (row := _spoken(name)) is not None and not weights[:, column].any()}
    _solve(table, weights, spoken, names)
    _stand_in(table, weights)
    table.found.sort()
    table.missing = [name for shape, name in enumerate(ARKIT_NAMES) if not weights[shape].any()]
    table.unused = [name for column, name in enumerate(names) if not weights[:, column].any()]
    if "jawOpen" in table.missing:
        listed = ", ".join(names[:8]) or "none at all"
        raise ModelError(
            f"no shape opens its mouth (jawOpen, or aa of VRM); it has {listed}. Give it ARKit's shapes, and export them as morph targets"
        )
    for column, name in enumerate(names):
        for bind in pool[name]:
            key = (bind.mesh, bind.target)
            table.targets[key] = table.targets.get(key, np.zeros(len(ARKIT_NAMES))) + bind.weight * weights[:, column]
    table.targets = {key: row for key, row in table.targets.items() if row.any()}
    return table


def swapped(table: ShapeTable) -> None:
    """Swap the sides of all shapes: the file's left is the face's right."""
    order = np.arange(len(ARKIT_NAMES))
    for left, right in PAIRS:
        order[[left, right]] = right, left
    table.targets = {key: row[order] for key, row in table.targets.items()}


def divided(moves: NDArray[np.float32], table: ShapeTable, across: Floats) -> None:
    """Divide the shapes that cover both sides at once; `across` is x, positive to the face's left. In place."""
    left_part = np.clip(0.5 + across / 0.2, 0, 1).astype(np.float32)[:, None]
    for left, right in table.split:
        both = moves[left] + moves[right]
        moves[left], moves[right] = both * left_part, both * (1 - left_part)


def _pool(parts: list[ModelPart], expressions: Expressions, moving: set[tuple[int, int]]) -> tuple[Expressions, list[str]]:
    """All names of the file with what they move, and the names that move nothing. A name in several meshes moves all of them."""
    pool: Expressions = {}
    seen: set[tuple[int, int]] = set()
    for part in parts:
        for target, name in enumerate(part.target_names):
            if (part.mesh, target) not in seen:
                seen.add((part.mesh, target))
                pool.setdefault(name, []).append(Bind(part.mesh, target, 1.0))
    for name, binds in expressions.items():
        known = [bind for bind in binds if (bind.mesh, bind.target) in seen]
        if known and not (name in pool and map_columns([name]).shapes):
            pool[name] = known
    full = {name: binds for name, binds in pool.items() if any((bind.mesh, bind.target) in moving for bind in binds)}
    return full, [name for name in pool if name not in full]


def _spoken(name: str) -> Floats | None:
    """The 52 weights of an expression or a viseme; None for other names."""
    row = np.zeros(len(ARKIT_NAMES))
    expression = expression_named(name, NameSet.VRM)
    if expression is not None:
        for shape, weight in expression.items():
            row[ARKIT_INDEX[shape]] = weight
        return row if row.any() else None
    name_set = NameSet.OCULUS if re.match("viseme", name, re.IGNORECASE) else NameSet.VRM
    viseme = viseme_named(name, name_set)
    if viseme is None:
        return None
    for shape, weight in zip(BLENDSHAPE_NAMES, to_weights(viseme.mouth), strict=True):
        row[ARKIT_INDEX[shape]] = weight
    return row if row.any() else None


def _solve(table: ShapeTable, weights: Floats, spoken: dict[int, Floats], names: list[str]) -> None:
    """Solve for the missing shapes whose mixtures best approximate the expressions: regularised least squares."""
    missing = np.array([shape for shape in range(len(ARKIT_NAMES)) if not weights[shape].any()], int)
    if not spoken or not len(missing):
        return
    columns = list(spoken)
    mixed = np.stack([spoken[column] for column in columns])
    wanted = np.eye(len(names))[columns] - mixed @ weights
    unknown = mixed[:, missing]
    rest = unknown.any(1)
    unknown, wanted = unknown[rest], wanted[rest]
    solved = unknown.T @ np.linalg.solve(unknown @ unknown.T + _CAUTION * np.eye(len(unknown)), wanted)
    weights[missing] = solved
    gained = [int(shape) for shape in missing if weights[shape].any()]
    for shape in gained:
        strongest = sorted(columns, key=lambda column: -abs(weights[shape, column]))[:2]
        table.stand_ins[ARKIT_NAMES[shape]] = " and ".join(names[column] for column in strongest if abs(weights[shape, column]) > 0.02)
    table.split += [pair for pair in _MOVES_A_SIDE_ONLY if pair[0] in gained and pair[1] in gained]


def _stand_in(table: ShapeTable, weights: Floats) -> None:
    for name, (other, part) in _STAND_INS.items():
        shape = ARKIT_INDEX[name]
        if not weights[shape].any() and weights[ARKIT_INDEX[other]].any() and other not in table.stand_ins.get(name, ""):
            weights[shape] = part * weights[ARKIT_INDEX[other]]
            table.stand_ins[name] = f"{other}, backwards" if part < 0 else other
