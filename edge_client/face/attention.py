"""Attention: when a conversation is about to begin, the face looks up at the viewer with slightly raised brows. Pure.

The level rises within `RISE_US` as soon as a conversation exists. It stays while the conversation is buffered and for the first `HOLD_US`
of sound. Then it falls slowly and gaze wanders again: a speaker who never looks away appears to stare.
"""

from __future__ import annotations

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.motion.pose import LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose
from edge_client.playback.events import PlayerState

RISE_US, HOLD_US, FALL_US = 250_000, 1_200_000, 1_000_000
_BROWS = 0.12

_EYES = slice(LEFT_EYE_ROTATION.start, RIGHT_EYE_ROTATION.stop)
_INNER_BROWS = ARKIT_INDEX["browInnerUp"]


class Attention:
    """Computes the level of attention from the player's state. Not thread-safe."""

    def __init__(self) -> None:
        self._level = 0.0
        self._last_us: int | None = None
        self._until_us = 0
        self._idle = True

    def level(self, state: PlayerState, now_us: int) -> float:
        """Return the level of attention, 0 to 1. Times must not decrease between calls."""
        waits = state is PlayerState.BUFFERING
        if waits or (self._idle and state is not PlayerState.IDLE):
            self._until_us = now_us + HOLD_US
        self._idle = state is PlayerState.IDLE
        passed_us = 0 if self._last_us is None else max(0, now_us - self._last_us)
        self._last_us = now_us
        wanted = not self._idle and now_us < self._until_us
        step = passed_us / RISE_US if wanted else -passed_us / FALL_US
        self._level = min(1.0, max(0.0, self._level + step))
        return self._level


def attentive(idle: Pose, level: float) -> Pose:
    """Return a new pose: the idle pose with the eyes turned to the camera and the brows raised, by `level`."""
    if level <= 0:
        return idle
    pose = idle.copy()
    ease = level * level * (3 - 2 * level)
    pose[_EYES] *= 1 - ease
    pose[_INNER_BROWS] += _BROWS * ease
    return pose
