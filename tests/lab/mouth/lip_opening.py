"""Computes the lip opening from rows of blendshape weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES

OPEN_FROM = 0.10
"""`lip_opening` from which the mouth is visibly open."""
SHUT_BELOW = 0.05
"""`lip_opening` below which the lips touch."""


def lip_opening(weights: ArrayLike, names: tuple[str, ...] = BLENDSHAPE_NAMES) -> NDArray[np.float64]:
    """Lip opening, from 0 (touching) to about 1 (wide open), for rows of weights whose columns are `names`.

    The jaw opens the lips as far as `mouthClose` does not hold them together (ARKit's definition). Lowering, raising and
    funnelling the lips also part them, by about a third as much as the jaw (measured on the edge client's head).
    """
    rows = np.asarray(weights, np.float64)
    column = {name: rows[..., index] for index, name in enumerate(names)}
    rest = np.zeros(rows.shape[:-1])

    def both(name: str) -> NDArray[np.float64]:
        return np.asarray((column.get(f"{name}Left", rest) + column.get(f"{name}Right", rest)) / 2)

    parted = 0.3 * (both("mouthLowerDown") + both("mouthUpperUp")) + 0.25 * column.get("mouthFunnel", rest)
    held = 0.5 * (column.get("mouthRollLower", rest) + column.get("mouthRollUpper", rest))
    jaw = column.get("jawOpen", rest) - column.get("mouthClose", rest)
    return np.asarray(np.clip(jaw + parted - held, 0.0, 1.0))
