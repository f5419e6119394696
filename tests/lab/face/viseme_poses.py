"""Ten visemes as poses, for tests and pictures."""

from __future__ import annotations

import numpy as np

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, to_weights
from avatar_relay.mouth.visemes import visemes_of
from edge_client.motion.pose import Pose, neutral_pose

VISEMES = ("p", "f", "θ", "t", "s", "ʃ", "w", "i", "ɛ", "a")
"""One phoneme for each: lips together, lip at the teeth, tongue at the teeth, tongue tip, hiss, hush, and four that open."""

_COLUMNS = np.array([ARKIT_INDEX[name] for name in BLENDSHAPE_NAMES])


def viseme_pose(ipa: str) -> Pose:
    """The mouth pose of a phoneme; everything else is at rest."""
    pose = neutral_pose()
    pose[_COLUMNS] = to_weights(visemes_of(ipa)[0].mouth)
    return pose
