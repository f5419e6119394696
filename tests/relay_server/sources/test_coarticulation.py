"""Timed visemes to keyframes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.mouth.shapes import JAW, KEYFRAMES_PER_SECOND, MOUTH_SIZE, PUCKER, to_weights
from relay_server.sources.coarticulation import Phoneme, keyframes
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening


def times(seconds: float) -> NDArray[np.float64]:
    """Times of the keyframes in some seconds."""
    return np.arange(round(seconds * KEYFRAMES_PER_SECOND), dtype=np.float64) / KEYFRAMES_PER_SECOND


def said(*parts: tuple[str, float]) -> list[Phoneme]:
    """Consecutive phonemes with their lengths."""
    phonemes, at = [], 0.0
    for ipa, length in parts:
        phonemes.append(Phoneme(ipa, at, at + length))
        at += length
    return phonemes


def test_nothing_said_is_rest() -> None:
    """No phonemes, no motion."""
    assert not keyframes([], times(1)).any()
    assert keyframes(said(("a", 1.0)), np.zeros(0)).shape == (0, MOUTH_SIZE)


def test_pause_is_rest() -> None:
    """A tenth of a second into a pause, nothing of the vowel is left."""
    opening = lip_opening(to_weights(keyframes(said(("a", 0.3), ("", 1.0), ("a", 0.3)), times(1.6))))
    assert opening[5] > OPEN_FROM
    assert (opening[14:36] < SHUT_BELOW).all()


def test_vowel_is_reached() -> None:
    """In the middle of a long vowel, the mouth has that vowel's shape."""
    mouths = keyframes(said(("", 0.3), ("ɑ", 0.4), ("", 0.3)), times(1.0))
    assert mouths[15, JAW] > 0.55


@given(
    st.lists(st.tuples(st.sampled_from(["a", "i", "u", "s", "t", "w", ""]), st.floats(0.04, 0.3)), min_size=1, max_size=5),
    st.floats(0.02, 0.12),
)
def test_closures_are_always_seen(before: list[tuple[str, float]], length: float) -> None:
    """Whatever surrounds it, and however short it is, a bilabial closes the lips on one keyframe near it."""
    phonemes = said(*before, ("p", length), ("a", 0.3))
    closure = phonemes[-2]
    grid = times(phonemes[-1].end_s)
    opening = lip_opening(to_weights(keyframes(phonemes, grid)))
    near = (grid >= closure.start_s - 1 / KEYFRAMES_PER_SECOND) & (grid <= closure.end_s + 1 / KEYFRAMES_PER_SECOND)
    assert opening[near].min() < SHUT_BELOW


@given(st.lists(st.tuples(st.sampled_from(["a", "i", "u", "p", "f", "ʃ", "w", "h", ""]), st.floats(0.02, 0.4)), min_size=1, max_size=8))
def test_mouths_stay_between_their_visemes(parts: list[tuple[str, float]]) -> None:
    """Blending stays finite and within 0 to 1, also long after the last phoneme."""
    mouths = keyframes(said(*parts), times(sum(length for _, length in parts) + 5))
    assert np.isfinite(mouths).all()
    assert mouths.min() >= 0.0
    assert mouths.max() <= 1.0


def test_rounding_is_seen_before_the_vowel() -> None:
    """In "too" the lips are already round on the t: coarticulation."""
    too = keyframes(said(("t", 0.08), ("u", 0.3)), np.array([0.04]))
    tea = keyframes(said(("t", 0.08), ("i", 0.3)), np.array([0.04]))
    assert too[0, PUCKER] > 0.2
    assert tea[0, PUCKER] < 0.02
