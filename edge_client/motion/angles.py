"""Converts angles of head and eyes to the rotations of a pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rotation_vectors(yaw: NDArray[np.float64], pitch: NDArray[np.float64], roll: NDArray[np.float64]) -> NDArray[np.float32]:
    """Axis-angle, shape (rows, 3), of turns about y (yaw), then x (pitch), then z (roll), each in the already turned frame; in radians.

    Positive: to the face's own left, down, the face's left side up, as in ARKit's own frame.
    """
    (sy, cy), (sx, cx), (sz, cz) = ((np.sin(angle / 2), np.cos(angle / 2)) for angle in (yaw, pitch, roll))
    real = cy * cx * cz + sy * sx * sz
    axis = np.stack((cy * sx * cz + sy * cx * sz, sy * cx * cz - cy * sx * sz, cy * cx * sz - sy * sx * cz), axis=1)
    axis *= np.where(real < 0, -1.0, 1.0)[:, None]  # the shorter way round
    length = np.linalg.norm(axis, axis=1)
    angle = 2 * np.arctan2(length, np.abs(real))
    return np.asarray(axis * (angle / np.where(length > 0, length, 1.0))[:, None], np.float32)
