"""Poses by name, for tests."""

from __future__ import annotations

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.motion.pose import HEAD_ROTATION, NECK_ROTATION, Pose, neutral_pose

Turn = tuple[float, float, float]


def pose_of(**weights: float) -> Pose:
    """A pose from weights; a name without its side (`eyeBlink`) stands for both sides."""
    pose = neutral_pose()
    for name, weight in weights.items():
        for full in (name,) if name in ARKIT_INDEX else (f"{name}Left", f"{name}Right"):
            pose[ARKIT_INDEX[full]] = weight
    return pose


def turned(*, head: Turn = (0, 0, 0), neck: Turn = (0, 0, 0), **weights: float) -> Pose:
    """The same with the head turned."""
    pose = pose_of(**weights)
    pose[HEAD_ROTATION] = head
    pose[NECK_ROTATION] = neck
    return pose
