"""The rig: computes the mesh of a pose. Pure numpy, in constant time for any pose: one dense matrix-vector product over all 52 blendshapes.

Some blendshapes conflict and must not add: a shut lid cannot sink further, lips cannot close further than the jaw has
opened them, a puckered mouth smiles less. `corrected` resolves this in the weights, before the product.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.face.gaze import Gaze, converged, left_gaze, right_gaze
from edge_client.face.head import Head
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, NECK_ROTATION, Pose

Matrix = NDArray[np.float32]

WEIGHT_LIMIT = 1.3
"""Weights are clamped to 0 to this: beyond it the mesh folds over itself."""
TURN_LIMIT_RAD = 0.8
"""Limit of the rotations of head and neck: the face must stay visible, whatever the motion."""

PERSON_AWAY = 6.2
"""Distance at which the eyes converge when they look ahead, in head units: about half a metre before the face, where the camera is."""

_PUCKER_TAKES = 0.6  # fraction of the smile
_INDEX = ARKIT_INDEX


class Rig:
    """The rig of a head. Not thread-safe: the result of `vertices` is one buffer, overwritten by the next call."""

    def __init__(self, head: Head) -> None:
        """Build the rig; `head` is not changed."""
        self._head = head
        self._rest = np.concatenate([head.points, head.normals], axis=1)[: head.moving].astype(np.float32).ravel()
        self._flow = np.empty_like(self._rest)
        self._inward_rad = math.atan2(float(np.ptp(head.eye_centres[:, 0])) / 2, PERSON_AWAY)

    def vertices(self, pose: Pose) -> Matrix:
        """Positions and normals of the moving vertices, shape (moving, 6). Not turned by head or neck; normals are not of unit length."""
        np.dot(corrected(pose), self._head.deltas, out=self._flow)
        self._flow += self._rest
        moved = self._flow.reshape(-1, 6)
        for ball, centre, turn in zip(self._head.eyeballs or (), self._head.eye_centres, self.eyes(pose), strict=False):
            moved[ball, :3] = (moved[ball, :3] - centre) @ turn.T + centre
            moved[ball, 3:] = moved[ball, 3:] @ turn.T
        return moved

    def lip_gap(self, pose: Pose) -> float:
        """Height of the mouth's opening for a pose, in head units; about 0 if shut, negative if the lips press."""
        moved = self.vertices(pose)
        upper, lower = self._head.lips
        return float(moved[upper, 1] - moved[lower, 1])

    def turn(self, pose: Pose) -> Matrix:
        """Rotation of head and neck as one (4, 4) matrix, in head units; the shoulders do not follow it."""
        head = about(rotation(held(pose[HEAD_ROTATION])), self._head.head_pivot)
        neck = about(rotation(held(pose[NECK_ROTATION])), self._head.neck_pivot)
        return np.asarray(neck @ head, np.float32)

    def eyes(self, pose: Pose) -> Matrix:
        """The rotations of the left and the right eyeball about their centres, shape (2, 3, 3)."""
        both = converged(left_gaze(pose), right_gaze(pose), self._inward_rad)
        return np.stack([_eye(gaze, self._head.gaze_scale) for gaze in both])


def corrected(pose: Pose) -> NDArray[np.float32]:
    """A pose's 52 weights, clamped, with conflicts resolved."""
    weight = np.clip(pose[BLENDSHAPES], 0.0, WEIGHT_LIMIT).astype(np.float32)
    weight[_INDEX["mouthClose"]] = min(weight[_INDEX["mouthClose"]], weight[_INDEX["jawOpen"]])
    rounding = min(1.0, float(weight[_INDEX["mouthPucker"]] + 0.5 * weight[_INDEX["mouthFunnel"]]))
    for side in ("Left", "Right"):
        shut = min(1.0, float(weight[_INDEX[f"eyeBlink{side}"]]))
        weight[_INDEX[f"eyeBlink{side}"]] = shut
        for name in (f"eyeLookDown{side}", f"eyeLookUp{side}", f"eyeWide{side}", f"eyeSquint{side}"):
            weight[_INDEX[name]] *= 1.0 - shut
        weight[_INDEX[f"mouthSmile{side}"]] *= 1.0 - _PUCKER_TAKES * rounding
        weight[_INDEX[f"mouthStretch{side}"]] *= 1.0 - _PUCKER_TAKES * rounding
    return weight


def held(axis_angle: NDArray[np.float32]) -> NDArray[np.float32]:
    """Limit a rotation to `TURN_LIMIT_RAD` about the same axis."""
    return np.asarray(axis_angle * min(1.0, TURN_LIMIT_RAD / max(float(np.linalg.norm(axis_angle)), 1e-9)), np.float32)


def rotation(axis_angle: NDArray[np.float32]) -> Matrix:
    """Convert axis times angle in radians to a (3, 3) matrix (Rodrigues' formula)."""
    angle = float(np.linalg.norm(axis_angle))
    if angle < 1e-8:
        return np.eye(3, dtype=np.float32)
    x, y, z = (axis_angle / angle).tolist()
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross), np.float32)


def about(turn: Matrix, pivot: NDArray[np.float32]) -> Matrix:
    """Convert a (3, 3) rotation about a point to a (4, 4) matrix."""
    whole = np.eye(4, dtype=np.float32)
    whole[:3, :3] = turn
    whole[:3, 3] = pivot - turn @ pivot
    return whole


def _eye(gaze: Gaze, scale: float) -> Matrix:
    yaw, pitch = np.array((0, gaze.yaw * scale, 0), np.float32), np.array((gaze.pitch * scale, 0, 0), np.float32)
    return np.asarray(rotation(yaw) @ rotation(pitch), np.float32)
