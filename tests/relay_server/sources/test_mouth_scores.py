"""The mouth matches the sound: lower bounds for the scores of `tests/lab/mouth/score.py`."""

from __future__ import annotations

import numpy as np
import pytest

from relay_server.sources import espeak
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.espeak import EspeakError
from tests.lab.mouth import score as score_mouth
from tests.lab.mouth import score_languages
from tests.lab.mouth.score import Judged, score


@pytest.fixture(autouse=True)
def _library() -> None:
    try:
        espeak.load()
    except EspeakError as error:
        pytest.skip(str(error))


def test_scorer_tells_good_from_bad() -> None:
    """A correct mouth scores 1; one that stays open or shut does not."""
    phonemes = (Phoneme("", 0.0, 0.5), Phoneme("a", 0.5, 0.8), Phoneme("m", 0.8, 0.9), Phoneme("a", 0.9, 1.2), Phoneme("", 1.2, 2.0))
    times = np.arange(60) / 30
    right = np.where((times >= 0.5) & (times < 1.2) & ~((times >= 0.8) & (times <= 0.9)), 0.5, 0.0)
    good, hanging, shut = (score([Judged(phonemes, opening)]) for opening in (right, np.full(60, 0.5), np.zeros(60)))
    assert (good.vowels_open, good.silence_shut, good.bilabials_close) == (1.0, 1.0, 1.0)
    assert (hanging.silence_shut, hanging.bilabials_close) == (0.0, 0.0)
    assert shut.vowels_open == 0.0


def test_speech() -> None:
    """With the synthesiser's own phonemes, the mouth closes for p, b and m, and rests in pauses."""
    scored = score_mouth.judge_speech(score_mouth.TEXTS, ("en-us",))
    assert scored.bilabials >= 40
    assert scored.bilabials_close >= 0.95
    assert scored.vowels_open >= 0.85
    assert scored.silence_shut >= 0.98


def test_local_on_synthetic_speech() -> None:
    """From the sound alone, most closures are found, and vowels stay open."""
    scored = score_mouth.judge_local_on_synthetic(score_mouth.TEXTS, ("en-us", "en-us+f2"))
    assert scored.vowels_open >= 0.9
    assert scored.silence_shut >= 0.95
    assert scored.bilabials_close >= 0.6


def test_local_on_people() -> None:
    """On human speech that was not used for fitting."""
    pytest.importorskip("pocketsphinx", reason="the aligner is not installed")
    if not score_mouth.CLIPS.is_dir():
        pytest.skip(f"{score_mouth.CLIPS} is not there; install Debian's pocketsphinx-testdata")
    scored = score_mouth.judge_local_on_people(score_mouth.clips())
    assert scored.vowels >= 100
    assert scored.vowels_open >= 0.85
    assert scored.silence_shut >= 0.95
    assert scored.bilabials_close >= 0.7


@pytest.mark.slow
@pytest.mark.parametrize("voice", score_languages.TEXTS)
def test_languages(voice: str) -> None:
    """Every phoneme has a shape; in Latin script the mouth is open on vowels, shut in pauses, and closes for p, b and m."""
    assert score_languages.judge(voice).is_good
