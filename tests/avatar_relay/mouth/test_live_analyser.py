"""Mouth motion from sound in real time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.mouth.live_analyser import LIVE_KEYFRAMES_PER_SECOND, LOOK_AHEAD_S, LiveMouthAnalyser
from avatar_relay.mouth.shapes import Mouths, to_weights
from tests.avatar_relay.mouth.test_features import vowel
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening
from tests.lab.recordings import speech_like

Floats = NDArray[np.float64]


def analysed(samples: Floats, rate_hz: int, lengths: list[int] | None = None) -> Mouths:
    """Return all mouths for some samples, in pieces of these lengths, repeated."""
    analyser = LiveMouthAnalyser(rate_hz)
    found, start, index = [], 0, 0
    while start < samples.size:
        length = (lengths or [4_000])[index % len(lengths or [0])]
        found.append(analyser.push(samples[start : start + length]))
        start, index = start + length, index + 1
    return np.vstack([*found, analyser.finish()])


@pytest.mark.parametrize("rate_hz", PCM_RATES_HZ)
def test_open_in_vowels_shut_in_silence(rate_hz: int) -> None:
    """At every rate, and one mouth for each 10 ms."""
    silence = np.zeros(rate_hz // 2)
    opening = lip_opening(to_weights(analysed(np.concatenate((silence, vowel(750, 1_250, rate_hz) * 0.5, silence)), rate_hz)))
    assert abs(len(opening) - 1.5 * LIVE_KEYFRAMES_PER_SECOND) <= 2
    assert opening[60:90].max() > 2 * OPEN_FROM
    assert (opening[:45] < SHUT_BELOW).all()
    assert (opening[112:] < SHUT_BELOW).all()


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=10), st.sampled_from([8_000, 16_000, 22_050, 48_000]))
@settings(max_examples=15, deadline=None)
def test_mouths_do_not_depend_on_how_samples_come(lengths: list[int], rate_hz: int) -> None:
    """Equal up to rounding."""
    samples = speech_like(1.0, rate_hz) / 32_768
    np.testing.assert_allclose(analysed(samples, rate_hz, lengths), analysed(samples, rate_hz), atol=1e-9)


def test_a_mouth_takes_no_more_sound_than_it_says() -> None:
    """At most 40 ms beyond its time."""
    assert LOOK_AHEAD_S <= 0.04
    analyser, samples, count = LiveMouthAnalyser(16_000), speech_like(1.0, 16_000) / 32_768, 0
    for start in range(0, samples.size, 16):
        count += len(analyser.push(samples[start : start + 16]))
        latest_s = (count - 1) / LIVE_KEYFRAMES_PER_SECOND
        assert (start + 16) / 16_000 <= latest_s + 1 / LIVE_KEYFRAMES_PER_SECOND + LOOK_AHEAD_S + 0.002
