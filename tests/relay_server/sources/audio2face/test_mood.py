"""Conversion of the service's emotions to a mood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.media import AS_MOTION_SAYS, Expression, ExpressionPreset
from relay_server.sources.audio2face.mood import mood_of
from relay_server.sources.audio2face.settings import EMOTIONS, Audio2FaceSettings, Emotion
from tests.lab.services.audio2face import Audio2FaceService
from tests.relay_server.sources.audio2face.speakers import HELLO, Speaker, against, noise
from tests.relay_server.sources.performances import read_all

STRENGTHS = st.dictionaries(st.sampled_from(sorted(EMOTIONS)), st.floats(0, 1), max_size=len(EMOTIONS))


@given(STRENGTHS, st.none() | st.floats(0, 1))
def test_any_strengths_are_one_mood(strengths: dict[str, float], overall: float | None) -> None:
    """Its intensity is at most that of the strongest emotion; without emotions there is no mood."""
    mood = mood_of(strengths, overall)
    assert mood.intensity <= max(strengths.values(), default=0) * (1 if overall is None else overall) or mood == AS_MOTION_SAYS
    if not any(strengths.values()):
        assert mood == AS_MOTION_SAYS


@pytest.mark.parametrize("name", sorted(EMOTIONS - {"outofbreath"}))
def test_every_emotion_but_breath_has_a_mood(name: str) -> None:
    """The mood is visible, and a stronger emotion is more visible."""
    weak, strong = mood_of({name: 0.4}), mood_of({name: 0.8})
    assert weak.preset is strong.preset is not ExpressionPreset.NEUTRAL
    assert 0 < weak.intensity < strong.intensity


def test_the_strongest_counts() -> None:
    """Holds also if breath is the strongest: then there is no mood."""
    assert mood_of({"joy": 0.4, "anger": 0.5}) == Expression(ExpressionPreset.ANGRY, 0.5)
    assert mood_of({"joy": 0.4, "outofbreath": 0.9}) == AS_MOTION_SAYS


@pytest.mark.parametrize(
    ("emotions", "mood"),
    [
        ((), AS_MOTION_SAYS),
        ((Emotion(0.0, {"joy": 0.5}), Emotion(2.0, {"anger": 1.0})), Expression(ExpressionPreset.HAPPY, 0.25)),
        ((Emotion(2.0, {"anger": 1.0}),), AS_MOTION_SAYS),
    ],
)
def test_a_conversation_has_the_mood_that_it_begins_with(emotions: tuple[Emotion, ...], mood: Expression) -> None:
    """Later emotions cannot change it: a mood applies to the whole conversation."""
    assert Audio2FaceSettings(target="here:1", emotions=emotions, emotion_strength=0.5).mood == mood


async def test_the_performance_has_it() -> None:
    """From the settings to the performance, against the stand-in service."""
    async with against(Audio2FaceService(), Speaker(noise(1.0)), emotions=(Emotion(0.0, {"sadness": 0.75}),)) as source:
        performance = await source.perform(HELLO)
        await read_all(performance)
    assert performance.expression == Expression(ExpressionPreset.SAD, 0.75)
