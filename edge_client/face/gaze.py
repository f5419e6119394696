"""Where the eyes look: the `eyeLook` weights and the eyeballs' own rotations as one angle pair for each eye. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.motion.pose import LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose

# A weight of 1 turns the eyeball by this much. The comfortable range of human gaze is about ±35° sideways, 25° up, 30° down.
SIDEWAYS_RAD = 0.60
UP_RAD = 0.42
DOWN_RAD = 0.50


@dataclass(frozen=True, slots=True)
class Gaze:
    """One eyeball against the head, in radians."""

    yaw: float
    """Positive: towards the face's left."""
    pitch: float
    """Positive: down."""


def left_gaze(pose: Pose) -> Gaze:
    """Of the face's left eye."""
    weight = _weights(pose, "Left")
    turn = pose[LEFT_EYE_ROTATION]
    return Gaze(SIDEWAYS_RAD * (weight["Out"] - weight["In"]) + float(turn[1]), _pitch(weight) + float(turn[0]))


def right_gaze(pose: Pose) -> Gaze:
    """Of the face's right eye."""
    weight = _weights(pose, "Right")
    turn = pose[RIGHT_EYE_ROTATION]
    return Gaze(SIDEWAYS_RAD * (weight["In"] - weight["Out"]) + float(turn[1]), _pitch(weight) + float(turn[0]))


def _weights(pose: Pose, side: str) -> dict[str, float]:
    return {way: float(pose[ARKIT_INDEX[f"eyeLook{way}{side}"]]) for way in ("In", "Out", "Up", "Down")}


def _pitch(weight: dict[str, float]) -> float:
    return DOWN_RAD * weight["Down"] - UP_RAD * weight["Up"]
