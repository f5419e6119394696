"""Mouth shapes of the sources: a few lip parameters, and the blendshape weights that they become.

A mouth is a row of `MOUTH_SIZE` numbers from 0 to 1, symmetric. `to_weights` returns the row of ARKit weights for the wire; its columns are
`BLENDSHAPE_NAMES`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avatar_relay.media import MotionEncoding, MotionFormat

Mouths = NDArray[np.float64]
"""Shape (…, MOUTH_SIZE)."""

JAW, CLOSE, FUNNEL, PUCKER, LOWER, UPPER, STRETCH, SMILE, PRESS, ROLL_LOWER, ROLL_UPPER = range(11)
MOUTH_SIZE = 11

KEYFRAMES_PER_SECOND = 30.0

_BLENDSHAPES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (JAW, ("jawOpen",)),
    (CLOSE, ("mouthClose",)),
    (FUNNEL, ("mouthFunnel",)),
    (PUCKER, ("mouthPucker",)),
    (LOWER, ("mouthLowerDownLeft", "mouthLowerDownRight")),
    (UPPER, ("mouthUpperUpLeft", "mouthUpperUpRight")),
    (STRETCH, ("mouthStretchLeft", "mouthStretchRight")),
    (SMILE, ("mouthSmileLeft", "mouthSmileRight")),
    (PRESS, ("mouthPressLeft", "mouthPressRight")),
    (ROLL_LOWER, ("mouthRollLower",)),
    (ROLL_UPPER, ("mouthRollUpper",)),
)

BLENDSHAPE_NAMES: tuple[str, ...] = tuple(name for _, names in _BLENDSHAPES for name in names)
"""Columns of the weights, sent once in the motion format."""

MOTION_FORMAT = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, KEYFRAMES_PER_SECOND, BLENDSHAPE_NAMES)
"""The motion format of the sources that use this module."""

_COLUMNS = np.array([parameter for parameter, names in _BLENDSHAPES for _ in names])


def mouth(
    jaw: float = 0.0,
    *,
    close: float = 0.0,
    funnel: float = 0.0,
    pucker: float = 0.0,
    lower: float = 0.0,
    upper: float = 0.0,
    stretch: float = 0.0,
    smile: float = 0.0,
    press: float = 0.0,
    roll_lower: float = 0.0,
    roll_upper: float = 0.0,
) -> Mouths:
    """One mouth by its parameters; the default is at rest, with closed lips."""
    return np.array([jaw, close, funnel, pucker, lower, upper, stretch, smile, press, roll_lower, roll_upper])


def to_weights(mouths: ArrayLike) -> NDArray[np.float32]:
    """Weights of mouths, from 0 to 1; one column for each of `BLENDSHAPE_NAMES`."""
    return np.clip(np.asarray(mouths, np.float64), 0.0, 1.0)[..., _COLUMNS].astype(np.float32)
