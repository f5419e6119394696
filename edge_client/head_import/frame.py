"""The orientation and size of the face. Pure.

Both are derived from the vertices that the shapes move, so units, axes and names of sides are arbitrary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHIN_Y, CROWN_Y, FACE_Z = -1.006, 1.198, 0.072
"""The built-in head's chin, top of the hair, and lids, in head units: a model is fitted to the same picture."""
_SNAPS = 0.8
"""A cosine: axes closer than this to a main axis are aligned with it."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Centres of the vertices that shapes move, in the model's world."""

    left_lid: Floats | None
    right_lid: Floats | None
    jaw: Floats


@dataclass(frozen=True, slots=True)
class Facing:
    """Orientation of the model."""

    turn: Floats
    """(3, 3): rows are the face's left, up, and front in the model's world."""
    sides_swapped: bool
    """The file's left is the face's right."""
    is_guessed: bool
    """There were no lids to derive it from: the orientation of the glTF or VRM specification is assumed."""


def facing(marks: Landmarks, points: Floats, *, faces_back: bool) -> Facing:
    """Derive the orientation. `points` are all vertices; `faces_back`: without lids, the model looks along −z, as in VRM 0."""
    guessed = np.diag([-1.0, 1.0, -1.0]) if faces_back else np.eye(3)
    if marks.left_lid is None or marks.right_lid is None:
        return Facing(guessed, False, True)
    middle = (marks.left_lid + marks.right_lid) / 2
    across, rise = marks.left_lid - marks.right_lid, middle - marks.jaw
    x = across / max(float(np.linalg.norm(across)), 1e-12)
    rise = rise - x * float(rise @ x)
    high = float(np.linalg.norm(rise))
    if float(np.linalg.norm(across)) < 1e-9 or high < 1e-9:
        return Facing(guessed, False, True)
    y = rise / high
    z = np.cross(x, y)
    levels = (points - middle) @ y
    head = points[(levels > -high) & (levels < high) & (np.linalg.norm(points - middle, axis=1) < 4 * high)]
    swapped = len(head) > 0 and float((middle - head.mean(0)) @ z) < 0  # the head is behind the eyes
    turn = np.stack([-x, y, -z] if swapped else [x, y, z])
    return Facing(_snapped(turn), swapped, False)


def _snapped(turn: Floats) -> Floats:
    axes = np.abs(turn).argmax(1)
    if len(set(axes.tolist())) < 3 or np.abs(turn).max(1).min() < _SNAPS:
        return turn
    snapped = np.zeros((3, 3))
    snapped[np.arange(3), axes] = np.sign(turn[np.arange(3), axes])
    return snapped if np.linalg.det(snapped) > 0 else turn


@dataclass(frozen=True, slots=True)
class Fit:
    """Conversion of the turned model to head units: times `scale`, plus `shift`."""

    scale: float
    shift: Floats


def fit(points: Floats, fall: Floats, lids: Floats | None) -> Fit:
    """Fit chin, crown and lids to the built-in head.

    `points` are the turned vertices, `fall` is how far `jawOpen` moves each, `lids` the centre of the lids.
    """
    jaw = points[fall >= 0.5 * fall.max()]
    chin, crown = float(jaw[:, 1].min()), float(points[:, 1].max())
    scale = (CROWN_Y - CHIN_Y) / max(crown - chin, 1e-9)
    middle = jaw.mean(0) if lids is None else lids
    front = float(jaw[:, 2].max()) - 0.25 / scale if lids is None else float(lids[2])
    return Fit(scale, np.array((-float(middle[0]) * scale, CHIN_Y - chin * scale, FACE_Z - front * scale)))
