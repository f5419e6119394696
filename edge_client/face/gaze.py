"""Where the eyes look: combines the `eyeLook` weights and the eyeballs' own rotations into one pair of angles for each eye. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.motion.pose import LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose

# A weight of 1 turns the eyeball by this much. The comfortable range of human gaze is about ±35° sideways, 25° up, 30° down.
SIDEWAYS_RAD = 0.60
UP_RAD = 0.42
DOWN_RAD = 0.50

# An eyeball does not turn further than this, even if the motion asks for more.
_YAW_LIMIT_RAD, _PITCH_LIMIT_RAD = 0.80, 0.65


@dataclass(frozen=True, slots=True)
class Gaze:
    """Rotation of an eyeball relative to the head, in radians."""

    yaw: float
    """Positive: towards the face's left."""
    pitch: float
    """Positive: down."""


def left_gaze(pose: Pose) -> Gaze:
    """Gaze of the face's left eye."""
    weight = _weights(pose, "Left")
    turn = pose[LEFT_EYE_ROTATION]
    return _gaze(weight["Out"] - weight["In"], weight, turn)


def right_gaze(pose: Pose) -> Gaze:
    """Gaze of the face's right eye."""
    weight = _weights(pose, "Right")
    turn = pose[RIGHT_EYE_ROTATION]
    return _gaze(weight["In"] - weight["Out"], weight, turn)


def converged(left: Gaze, right: Gaze, inward_rad: float) -> tuple[Gaze, Gaze]:
    """Turn both eyes inward by up to `inward_rad` each, to meet at a person instead of far behind; less if they already converge."""
    missing = min(max(2 * inward_rad - (right.yaw - left.yaw), 0.0), 2 * inward_rad) / 2
    return replace(left, yaw=left.yaw - missing), replace(right, yaw=right.yaw + missing)


def _weights(pose: Pose, side: str) -> dict[str, float]:
    return {way: float(pose[ARKIT_INDEX[f"eyeLook{way}{side}"]]) for way in ("In", "Out", "Up", "Down")}


def _gaze(leftwards: float, weight: dict[str, float], turn: Pose) -> Gaze:
    yaw = SIDEWAYS_RAD * leftwards + float(turn[1])
    pitch = DOWN_RAD * weight["Down"] - UP_RAD * weight["Up"] + float(turn[0])
    return Gaze(max(-_YAW_LIMIT_RAD, min(_YAW_LIMIT_RAD, yaw)), max(-_PITCH_LIMIT_RAD, min(_PITCH_LIMIT_RAD, pitch)))
