"""Mouth motion derived from sound alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.mouth.analyser import LATENCY_S, MouthAnalyser
from avatar_relay.mouth.shapes import KEYFRAMES_PER_SECOND, MOUTH_SIZE, PUCKER, STRETCH, Mouths, to_weights
from tests.avatar_relay.mouth.test_features import vowel
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening
from tests.lab.recordings import speech_like

Floats = NDArray[np.float64]


def analysed(samples: Floats, rate_hz: int, block: int = 4_000) -> Mouths:
    """Return all mouths for some samples."""
    analyser = MouthAnalyser(rate_hz, -12.0)
    mouths = [analyser.push(samples[start : start + block]) for start in range(0, samples.size, block)]
    return np.vstack([*mouths, analyser.finish()])


def silence(rate_hz: int, seconds: float = 0.5) -> Floats:
    """Nothing."""
    return np.zeros(round(seconds * rate_hz))


@pytest.mark.parametrize("rate_hz", PCM_RATES_HZ)
def test_open_in_vowels_shut_in_silence(rate_hz: int) -> None:
    """At every rate."""
    samples = np.concatenate((silence(rate_hz), vowel(750, 1_250, rate_hz) * 0.5, silence(rate_hz)))
    opening = lip_opening(to_weights(analysed(samples, rate_hz)))
    assert opening[18:27].max() > 2 * OPEN_FROM
    assert (opening[:12] < SHUT_BELOW).all()
    assert (opening[36:] < SHUT_BELOW).all()


def test_round_and_spread_vowels() -> None:
    """Lips are round for a u and spread for an i."""
    round_ = analysed(np.concatenate((silence(16_000), vowel(350, 800, 16_000), silence(16_000))), 16_000)[20:26]
    spread = analysed(np.concatenate((silence(16_000), vowel(300, 2_300, 16_000), silence(16_000))), 16_000)[20:26]
    assert round_[:, PUCKER].mean() > spread[:, PUCKER].mean()
    assert spread[:, STRETCH].mean() > round_[:, STRETCH].mean()


def test_silence_is_rest() -> None:
    """Digital silence, and the noise of a quiet room."""
    hiss = np.random.default_rng(5).normal(size=16_000) * 10 ** (-65 / 20)
    for samples in (np.zeros(16_000), hiss):
        assert (lip_opening(to_weights(analysed(samples, 16_000))) < SHUT_BELOW).all()


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=10), st.sampled_from([8_000, 16_000, 22_050, 48_000]))
@settings(max_examples=30, deadline=None)
def test_mouths_do_not_depend_on_how_samples_come(lengths: list[int], rate_hz: int) -> None:
    """Cut anywhere: the same mouths, one per 1/30 s of sound, returned at most `LATENCY_S` after their time."""
    samples = speech_like(sum(lengths) / rate_hz, rate_hz) / 32_768
    analyser = MouthAnalyser(rate_hz, -12.0)
    mouths: list[Mouths] = []
    given_ = at = 0
    for length in lengths:
        mouths.append(analyser.push(samples[at : at + length]))
        at = min(at + length, samples.size)
        given_ += len(mouths[-1])
        assert given_ / KEYFRAMES_PER_SECOND >= at / rate_hz - LATENCY_S
    mouths.append(analyser.finish())
    joined = np.vstack(mouths)
    assert joined.shape == (round(samples.size / rate_hz * KEYFRAMES_PER_SECOND), MOUTH_SIZE)
    np.testing.assert_allclose(joined, analysed(samples, rate_hz, samples.size), atol=1e-9)
    assert joined.min(initial=0.0) >= 0.0
    assert joined.max(initial=0.0) <= 1.0


def test_no_sound_at_all() -> None:
    """No input, no output."""
    assert MouthAnalyser(16_000).finish().shape == (0, MOUTH_SIZE)


@pytest.mark.parametrize(
    "samples", [np.ones(16_000), np.tile([1.0, -1.0], 8_000), np.eye(1, 16_000, 8_000)[0]], ids=["dc", "nyquist", "click"]
)
def test_strange_sound_is_harmless(samples: Floats) -> None:
    """For any input, mouths are between 0 and 1."""
    mouths = analysed(samples, 16_000)
    assert np.isfinite(mouths).all()
    assert 0.0 <= mouths.min() <= mouths.max() <= 1.0
