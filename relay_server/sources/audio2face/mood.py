"""Emotions of Audio2Face-3D as the mood of a whole conversation. Pure.

The service puts emotions into its weights, as far as they show in 52 shapes; the mood is for gaze and lids too, for a device that does
not understand those weights, and for speech whose motion is lost.
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
"""What each emotion is nearest to, and how near."""


def mood_of(strengths: Mapping[str, float], overall: float | None = None) -> Expression:
    """The preset that most of the strengths (0 to 1, by the service's names) speak for, as strong as they and `overall` (0 to 1) make it.

    Emotions of one preset do not add up: the strongest counts. Of presets that are equally strong the first of the table is taken.
    """
    found = AS_MOTION_SAYS
    strongest = 0.0
    for name, (preset, near) in _PRESETS.items():
        strength = strengths.get(name, 0.0) * near
        if strength > strongest:
            strongest = strength
            found = Expression(preset, min(1.0, strength * (1.0 if overall is None else overall)))
    return found if found.preset is not ExpressionPreset.NEUTRAL else AS_MOTION_SAYS
