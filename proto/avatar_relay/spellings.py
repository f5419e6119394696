"""The names of blendshape weights: one table for all spellings of ARKit's 52, and nine additional angles.

Rules
1. Case, blanks, a byte order mark and every sign between letters and digits are ignored. `Left` and `Right` at the end of a name may be
   `L` and `R`.
2. Leading words that are not part of a known name are a prefix (`blendShape1.`, `BS_node.`, `A14_`) and are left out.
3. A single ARKit shape may come in two halves (`browInnerUp_L`, `browInnerUp_R`): the mean is used. A shape that ARKit has for both
   sides may come as one (`eyesClosed`, `mouthSmile`). A column of the shape's own name has priority over halves, and those over a common
   one.
4. Audio2Face-3D's tongue and MediaPipe's `_neutral` are known, and have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from avatar_relay.arkit import ARKIT_INDEX

ANGLE_NAMES: tuple[str, ...] = (
    "headYaw", "headPitch", "headRoll",
    "leftEyeYaw", "leftEyePitch", "leftEyeRoll",
    "rightEyeYaw", "rightEyePitch", "rightEyeRoll",
)  # fmt: skip
"""Angles of Live Link Face and of Azure. Positive: to the face's own left, down, the face's left side up."""

_WITHOUT_EFFECT = (
    "neutral", "tongueTipUp", "tongueTipDown", "tongueTipLeft", "tongueTipRight", "tongueRollUp", "tongueRollDown", "tongueRollLeft",
    "tongueRollRight", "tongueUp", "tongueDown", "tongueLeft", "tongueRight", "tongueIn", "tongueStretch", "tongueWide", "tongueNarrow",
)  # fmt: skip
_SPLIT = ("browInnerUp", "cheekPuff")
_NOT_MERGED = ("mouth", "jaw")
"""`mouthLeft` moves the mouth sideways: it is not the left half of a shape."""
_MERGED = {
    "mouthOpen": ("jawOpen",),
    "eyesClosed": ("eyeBlinkLeft", "eyeBlinkRight"),
    "eyesLookUp": ("eyeLookUpLeft", "eyeLookUpRight"),
    "eyesLookDown": ("eyeLookDownLeft", "eyeLookDownRight"),
}
_SIDES = {"left": "l", "right": "r"}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The shapes and angles that a row's columns move."""

    shapes: dict[int, tuple[int, ...]]
    """ARKit's index to the columns whose mean is its weight."""
    angles: dict[int, int]
    """Index in `ANGLE_NAMES` to its column."""
    left_out: tuple[int, ...]
    """Columns whose names are unknown, or duplicate another column's."""


def map_columns(names: Sequence[str]) -> ColumnMap:
    """Map columns of these names."""
    exact: dict[int, int] = {}
    halves: dict[int, dict[str, int]] = {}
    common: dict[int, int] = {}
    angles: dict[int, int] = {}
    left_out = []
    for column, name in enumerate(names):
        match _meaning(name):
            case ("shape", int(index)) if index not in exact:
                exact[index] = column
            case ("half", int(index), str(side)) if side not in halves.get(index, {}):
                halves.setdefault(index, {})[side] = column
            case ("common", tuple(indexes)):
                common |= {index: column for index in indexes if index not in common}
            case ("angle", int(index)) if index not in angles:
                angles[index] = column
            case ("none",):
                pass
            case _:
                left_out.append(column)
    shapes: dict[int, tuple[int, ...]] = {index: (column,) for index, column in common.items()}
    shapes |= {index: tuple(columns.values()) for index, columns in halves.items()}
    shapes |= {index: (column,) for index, column in exact.items()}
    return ColumnMap(shapes, angles, tuple(left_out))


def words_of(name: str) -> list[str]:
    """The parts of a name between signs and blanks."""
    return re.findall(r"[A-Za-z0-9]+", name)


def _meaning(name: str) -> tuple[object, ...] | None:
    words = [word.lower() for word in words_of(name)]
    return next((found for start in range(len(words)) if (found := _MEANINGS.get("".join(words[start:]))) is not None), None)


def _meanings() -> dict[str, tuple[object, ...]]:
    """The meaning of each name, in lower case without signs."""
    found: dict[str, tuple[object, ...]] = {name.lower(): ("none",) for name in _WITHOUT_EFFECT}
    found |= {name.lower(): ("angle", index) for index, name in enumerate(ANGLE_NAMES)}
    for name in _SPLIT:
        for side, letter in _SIDES.items():
            found[name.lower() + side] = found[name.lower() + letter] = ("half", ARKIT_INDEX[name], side)
    for name, index in ARKIT_INDEX.items():
        plain = name.lower()
        found[plain] = ("shape", index)
        for side, letter in _SIDES.items():
            stem = plain.removesuffix(side)
            if stem != plain:
                found[stem + letter] = ("shape", index)
                if side == "left" and stem not in _NOT_MERGED:
                    found[stem] = ("common", (index, ARKIT_INDEX[name.removesuffix("Left") + "Right"]))
    merged: dict[str, tuple[object, ...]] = {
        name.lower(): ("common", tuple(ARKIT_INDEX[target] for target in targets)) for name, targets in _MERGED.items()
    }
    return found | merged


_MEANINGS = _meanings()
