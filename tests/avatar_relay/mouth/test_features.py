"""The acoustic features of the analyser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.mouth.features import BAND_EDGES_HZ, HOP_S, SILENCE_DB, FeatureExtractor, Features, join, no_features

Floats = NDArray[np.float64]


def features_of(samples: Floats, rate_hz: int) -> Features:
    """All frames of some samples."""
    extractor = FeatureExtractor(rate_hz)
    return join(extractor.push(samples), extractor.finish())


def sine(hertz: float, rate_hz: int, seconds: float = 0.5) -> Floats:
    """Full scale."""
    return np.asarray(np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz))


def vowel(f1_hz: float, f2_hz: float, rate_hz: int) -> Floats:
    """Pulses at 120 Hz through four resonators: formants as given, then 2.6 and 3.5 kHz."""
    samples = np.zeros(rate_hz // 2)
    samples[:: rate_hz // 120] = 1.0
    for hertz, width in ((f1_hz, 60.0), (f2_hz, 90.0), (2_600.0, 120.0), (3_500.0, 150.0)):
        radius = np.exp(-np.pi * width / rate_hz)
        first, second = 2 * radius * np.cos(2 * np.pi * hertz / rate_hz), -(radius**2)
        out = np.zeros_like(samples)
        for index, sample in enumerate(samples):
            out[index] = sample + first * out[index - 1] + second * out[index - 2]
        samples = out
    return np.asarray(samples / np.abs(samples).max())


@pytest.mark.parametrize("rate_hz", PCM_RATES_HZ)
def test_level_of_a_sine(rate_hz: int) -> None:
    """Full scale is −3 dB RMS, at every rate."""
    features = features_of(sine(500, rate_hz), rate_hz)
    np.testing.assert_allclose(features.level_db[5:-5], -3.0, atol=0.3)


@pytest.mark.parametrize("band", range(len(BAND_EDGES_HZ) - 1))
def test_bands(band: int) -> None:
    """A tone is in its own band and nowhere else."""
    hertz = float(np.sqrt(BAND_EDGES_HZ[band] * BAND_EDGES_HZ[band + 1]))
    bands = features_of(sine(hertz, 48_000), 48_000).bands_db[20]
    assert bands.argmax() == band
    assert np.sort(bands)[-2] < bands[band] - 15


def test_silence() -> None:
    """No sound is detected, and nothing divides by zero."""
    features = features_of(np.zeros(8_000), 16_000)
    np.testing.assert_array_equal(features.level_db, SILENCE_DB)
    np.testing.assert_array_equal(features.voicing, 0.0)


def test_voicing_tells_a_voice_from_a_hiss() -> None:
    """A buzz is voiced, noise is not."""
    noise = np.random.default_rng(1).normal(size=8_000) * 0.1
    assert np.median(features_of(vowel(500, 1_500, 16_000), 16_000).voicing) > 0.8
    assert np.median(features_of(noise, 16_000).voicing) < 0.5


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000])
@pytest.mark.parametrize(("f1_hz", "f2_hz"), [(300, 2_200), (700, 1_200), (450, 900), (550, 1_800)])
def test_formants(rate_hz: int, f1_hz: float, f2_hz: float) -> None:
    """Those of a synthetic vowel are found, within the distance of its harmonics."""
    features = features_of(vowel(f1_hz, f2_hz, rate_hz), rate_hz)[10:-10]
    assert np.median(features.f1_hz) == pytest.approx(f1_hz, abs=90)
    assert np.median(features.f2_hz) == pytest.approx(f2_hz, abs=150)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=12), st.sampled_from([8_000, 16_000, 44_100]))
def test_frames_do_not_depend_on_how_samples_come(lengths: list[int], rate_hz: int) -> None:
    """Cut anywhere, the frames are the same, one every 10 ms."""
    samples = np.random.default_rng(3).normal(size=sum(lengths))
    extractor = FeatureExtractor(rate_hz)
    pieces = no_features()
    at = 0
    for length in lengths:
        pieces = join(pieces, extractor.push(samples[at : at + length]))
        at += length
    pieces = join(pieces, extractor.finish())
    whole = features_of(samples, rate_hz)
    np.testing.assert_allclose(pieces.bands_db, whole.bands_db)
    np.testing.assert_allclose(pieces.f1_hz, whole.f1_hz)
    assert abs(len(whole) - samples.size / rate_hz / HOP_S) <= 2
