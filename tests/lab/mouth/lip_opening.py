"""How far apart the lips are, from rows of blendshape weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES

OPEN_FROM = 0.10
"""`lip_opening` from which on a person sees an open mouth."""
SHUT_BELOW = 0.05
"""`lip_opening` below which the lips touch."""


def lip_opening(weights: ArrayLike, names: tuple[str, ...] = BLENDSHAPE_NAMES) -> NDArray[np.float64]:
    """How far apart the lips are, 0 touching to about 1 wide open, for rows of weights whose columns are `names`.

    The jaw opens what `mouthClose` does not hold together (that is how ARKit defines it); lowering and raising the
    lips and funnelling them part them too, by about a third of what the jaw does (head of the edge client).
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
