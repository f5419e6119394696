"""The reference level of speech, and the threshold of silence."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay.mouth.features import BANDS, Features
from avatar_relay.mouth.reference import TYPICAL_SPECTRUM_DB, SpeechReference


def frames(*levels_db: tuple[float, int], voicing: float = 0.0) -> Features:
    """Return the given number of frames at each level, with the spectrum of speech."""
    level = np.concatenate([np.full(count, level_db) for level_db, count in levels_db])
    bands = level[:, np.newaxis] + TYPICAL_SPECTRUM_DB
    other = np.zeros(level.size)
    return Features(level, bands, np.full(level.size, voicing), other, other)


@pytest.mark.parametrize("peak_db", [-50.0, -20.0, -3.0])
def test_quiet_and_loud_look_the_same(peak_db: float) -> None:
    """Speech is speech and silence is silence, at every level."""
    bands, over = SpeechReference(peak_db).push(frames((peak_db - 60, 50), (peak_db, 50), (peak_db - 60, 50)))
    np.testing.assert_allclose(bands[60], np.zeros(BANDS), atol=0.1)
    assert (over[:50] < 0).all()
    assert (over[50:100] > 10).all()
    assert (over[100:] < 0).all()


def test_background_noise_is_silence() -> None:
    """The floor follows the background: noise 25 dB below the speech is a pause, at once and for as long as it lasts."""
    _, over = SpeechReference(-20.0).push(frames((-45, 1_500), (-20, 50), (-45, 100)))
    assert (over[:1_500] < 0).all()
    assert (over[1_500:1_550] > 0).all()
    assert (over[1_550:] < 0).all()


def test_speech_never_becomes_silence() -> None:
    """For any time without a pause: the dips between its sounds are enough."""
    _, over = SpeechReference(-20.0).push(frames(*[(-20, 30), (-45, 5)] * 170))
    assert (over.reshape(170, 35)[:, :30] > 0).all()


def test_colour_of_a_recording_is_evened_out() -> None:
    """A dull microphone becomes the reference after some seconds."""
    features = frames(*[(-20.0, 95), (-60.0, 5)] * 15)
    dull = features.bands_db - np.array([0, 0, 5, 10, 15, 20])
    bands, _ = SpeechReference(-20.0).push(Features(features.level_db, dull, features.voicing, features.f1_hz, features.f2_hz))
    np.testing.assert_allclose(bands[-10], np.zeros(BANDS), atol=0.1)


@pytest.mark.parametrize("breath_db", [-56.0, -50.0, -42.0])
def test_breath_in_a_pause_is_silence(breath_db: float) -> None:
    """Quiet noise without voicing, at the start and in a pause, until speech continues."""
    features = frames((breath_db, 30), (-20, 50), (-75, 20), (breath_db, 40), (-20, 20), (-75, 20))
    _, over = SpeechReference(-20.0).push(features)
    assert (over[:30] < 0).all()
    assert (over[30:80] > 0).all()
    assert (over[80:140] < 0).all()
    assert (over[140:160] > 0).all()


@pytest.mark.parametrize(
    ("level_db", "voicing", "silent_frames"), [(-50.0, 0.9, 20), (-32.0, 0.2, 20), (-50.0, 0.2, 8)], ids=["voice", "hiss", "within a word"]
)
def test_quiet_speech_is_no_breath(level_db: float, voicing: float, silent_frames: int) -> None:
    """A quiet vowel, an s after a pause, and the weak consonant after the closure of a p, t or k."""
    reference = SpeechReference(-20.0)
    reference.push(frames((-20, 50), (-75, silent_frames)))
    _, over = reference.push(frames((level_db, 15), voicing=voicing))
    assert (over > 0).all()
