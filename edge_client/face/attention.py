"""Attention: when a conversation is about to begin the face looks up at the person before it, brows a little raised. Pure.

It rises in `RISE_US` as soon as a conversation is there, stays while it is buffered and for `HOLD_US` of its being heard, then falls
slowly, and gaze wanders again: a speaker who never looks away stares.
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
    """Follows what the player does. Not thread-safe."""

    def __init__(self) -> None:
        self._level = 0.0
        self._last_us: int | None = None
        self._until_us = 0
        self._idle = True

    def level(self, state: PlayerState, now_us: int) -> float:
        """How attentive the face is, 0 to 1; ask with rising times."""
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
    """An idle pose that attends: the eyes come home to the camera, the brows rise. A new pose."""
    if level <= 0:
        return idle
    pose = idle.copy()
    ease = level * level * (3 - 2 * level)
    pose[_EYES] *= 1 - ease
    pose[_INNER_BROWS] += _BROWS * ease
    return pose
