"""Moods of the face, blended with motion. Pure: time is an argument.

Rules
1. A mood moves brows, lids, cheeks, nose, gaze and the corners of the mouth; never the jaw, nor the weights that part the lips.
2. It is added to motion and never reduces it: the sum of two weights is limited to 1.
3. The mood's effect on the corners fades while lips close or round: a `p` or a `u` is not affected.
4. It eases in and out, also from one mood to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from avatar_relay.media import Expression, ExpressionPreset
from avatar_relay.mouth.viseme_sets import EXPRESSIONS
from edge_client.motion.pose import BLENDSHAPES, Pose

Weights = NDArray[np.float32]
"""Weights of the 52 blendshapes."""

NO_MOOD: Weights = np.zeros(len(ARKIT_NAMES), np.float32)
EASE_US = 180_000
"""Time constant: after this time about two thirds of a change are done."""

_THINKING = {
    "browDownLeft": 0.30, "browInnerUp": 0.15, "browOuterUpRight": 0.60, "eyeLookUpLeft": 0.35, "eyeLookUpRight": 0.35,
    "eyeLookOutLeft": 0.30, "eyeLookInRight": 0.30, "eyeSquintLeft": 0.25, "eyeSquintRight": 0.10, "mouthDimpleRight": 0.25,
}  # fmt: skip
_MOODS: Mapping[ExpressionPreset, Mapping[str, float]] = {
    ExpressionPreset.NEUTRAL: {},
    ExpressionPreset.HAPPY: EXPRESSIONS["happy"],
    ExpressionPreset.SAD: EXPRESSIONS["sad"],
    ExpressionPreset.ANGRY: EXPRESSIONS["angry"],
    ExpressionPreset.SURPRISED: {name: weight for name, weight in EXPRESSIONS["surprised"].items() if name != "jawOpen"},
    ExpressionPreset.THINKING: _THINKING,
}
_MOUTH = np.array([name.startswith("mouth") for name in ARKIT_NAMES])
_HOLDS = {
    "mouthPucker": 1.0, "mouthFunnel": 0.8, "mouthClose": 1.5, "mouthPressLeft": 1.7, "mouthPressRight": 1.7, "mouthRollLower": 1.0,
    "mouthRollUpper": 1.0,
}  # fmt: skip
"""How far each of these weights reduces the mood's effect on the corners."""
_HELD = np.array([_HOLDS.get(name, 0.0) for name in ARKIT_NAMES], np.float32)


def mood_weights(expression: Expression) -> Weights:
    """The 52 weights of an expression."""
    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, weight in _MOODS[expression.preset].items():
        weights[ARKIT_INDEX[name]] = weight * expression.intensity
    return weights


def with_mood(pose: Pose, mood: Weights) -> Pose:
    """Return the pose with a mood added; `pose` is not changed."""
    if not mood.any():
        return pose
    said = np.clip(pose[BLENDSHAPES], 0.0, 1.0)
    free = max(0.0, 1.0 - float(said @ _HELD))
    added = np.where(_MOUTH, mood * np.float32(free), mood)
    mixed = pose.copy()
    mixed[BLENDSHAPES] = pose[BLENDSHAPES] + added * (1 - said)
    return mixed


class MoodFade:
    """Eases from mood to mood. Not thread-safe."""

    def __init__(self) -> None:
        self._shown = np.zeros(len(ARKIT_NAMES), np.float32)
        self._last_us: int | None = None

    def step(self, wanted: Weights, now_us: int) -> Weights:
        """Return the mood at `now_us`; a time before that of the last call counts as that time."""
        passed_us = 0 if self._last_us is None else max(0, now_us - self._last_us)
        self._last_us = now_us if self._last_us is None else max(now_us, self._last_us)
        self._shown = wanted + (self._shown - wanted) * np.float32(math.exp(-passed_us / EASE_US))
        self._shown[np.abs(self._shown) < 1e-4] = 0.0
        return self._shown
