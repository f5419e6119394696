"""A pose: the vector that motion decoders produce and the face draws.

A plain float32 vector of `POSE_SIZE` numbers, so that a window of poses is one matrix and interpolation is one line.
Rotations are axis-angle in radians in the head's frame: x to the face's left, y up, z out of the face.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_NAMES

Pose = NDArray[np.float32]
"""Shape (POSE_SIZE,)."""
Poses = NDArray[np.float32]
"""Shape (keyframes, POSE_SIZE)."""

BLENDSHAPES = slice(0, len(ARKIT_NAMES))
"""ARKit-52 weights in the order of `ARKIT_NAMES`, 0 to 1."""
HEAD_ROTATION = slice(52, 55)
"""Rotation of the whole head relative to the world."""
NECK_ROTATION = slice(55, 58)
"""Rotation of the head relative to the neck."""
LEFT_EYE_ROTATION = slice(58, 61)
"""Rotation of the left eyeball relative to the head, in addition to the `eyeLook` weights."""
RIGHT_EYE_ROTATION = slice(61, 64)
"""The same for the right eyeball."""
POSE_SIZE = 64


def neutral_pose() -> Pose:
    """The pose at rest, looking ahead."""
    return np.zeros(POSE_SIZE, np.float32)
