"""Emotions of Audio2Face-3D as the mood of a whole conversation. Pure.

The service includes emotions in its weights, as far as 52 shapes can show them. The mood also sets gaze and lids; it serves devices that do
not understand the weights, and speech whose motion is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from avatar_relay.media import AS_MOTION_SAYS, Expression, ExpressionPreset

_PRESETS: Mapping[str, tuple[ExpressionPreset, float]] = {
    "joy": (ExpressionPreset.HAPPY, 1.0),
    "cheekiness": (ExpressionPreset.HAPPY, 0.6),
    "amazement": (ExpressionPreset.SURPRISED, 1.0),
    "fear": (ExpressionPreset.SURPRISED, 0.6),
    "anger": (ExpressionPreset.ANGRY, 1.0),
    "disgust": (ExpressionPreset.ANGRY, 0.6),
    "sadness": (ExpressionPreset.SAD, 1.0),
    "grief": (ExpressionPreset.SAD, 1.0),
    "pain": (ExpressionPreset.SAD, 0.7),
    "outofbreath": (ExpressionPreset.NEUTRAL, 1.0),
}
"""The nearest preset of each emotion, and how near it is (0 to 1)."""


def mood_of(strengths: Mapping[str, float], overall: float | None = None) -> Expression:
    """The preset with the strongest emotion in `strengths` (0 to 1, by the service's names), scaled by `overall` (0 to 1).

    Emotions of one preset do not add up: the strongest counts. If presets are equally strong, the first of the table is chosen.
    """
    found = AS_MOTION_SAYS
    strongest = 0.0
    for name, (preset, near) in _PRESETS.items():
        strength = strengths.get(name, 0.0) * near
        if strength > strongest:
            strongest = strength
            found = Expression(preset, min(1.0, strength * (1.0 if overall is None else overall)))
    return found if found.preset is not ExpressionPreset.NEUTRAL else AS_MOTION_SAYS
