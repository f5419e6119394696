"""Held-out speech of espeak-ng, used neither for fitting models nor for choosing constants, with breath in its pauses.

Tune constants only on the sentences of `score.py`, and use these only to report the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relay_server.sources import espeak
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.espeak import Spoken

VOICES = ("en-gb-x-rp", "en-us+f1", "en-us+m6", "en-029+f3")
TEXTS = (
    "The north wind and the sun were disputing which of them was stronger, when a traveller came along, wrapped in a warm cloak.",
    "They agreed that the one who first made him take it off should be considered the stronger of the two.",
    "Then the north wind blew as hard as he could, but the more he blew, the more closely did the traveller fold his cloak around him.",
    "At last the north wind gave up the attempt, and then the sun shone out warmly.",
    "A probable number of membership stamps is kept in a blue paper box on top of the piano.",
    "Simple symbols, rubber boots and camp beds; maybe nobody brought bread, jam or pepper?",
)

BREATH_S = 0.35
"""Length of a breath; it is preceded and followed by 0.3 s of silence."""
_SILENCE_S = 0.3


def with_breath(first: Spoken, second: Spoken, under_speech_db: float, *, seed: int) -> Spoken:
    """Two pieces of the same rate with a breath between them, `under_speech_db` below the loudest 25 ms RMS of the first."""
    rate_hz = first.rate_hz
    noise = breath(round(BREATH_S * rate_hz), rate_hz, seed) * _loudest(first) * 10 ** (-under_speech_db / 20)
    silence = np.zeros(round(_SILENCE_S * rate_hz), np.int16)
    pieces = (first.samples, silence, np.rint(noise).astype(np.int16), silence, second.samples)
    offset_s = sum(piece.size for piece in pieces[:-1]) / rate_hz
    ended_s = max(phoneme.end_s for phoneme in first.phonemes if phoneme.ipa)
    begun_s = offset_s + min(phoneme.start_s for phoneme in second.phonemes if phoneme.ipa)
    phonemes = (
        *(phoneme for phoneme in first.phonemes if phoneme.start_s < ended_s),
        Phoneme("", ended_s, begun_s),
        *(Phoneme(p.ipa, p.start_s + offset_s, p.end_s + offset_s) for p in second.phonemes if p.start_s + offset_s >= begun_s),
    )
    return Spoken(rate_hz, np.concatenate(pieces), phonemes)


def breath(count: int, rate_hz: int, seed: int) -> NDArray[np.float64]:
    """`count` samples of noise through an open vocal tract, rising and falling; RMS 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / rate_hz)
    tract = (hertz > 100) / np.sqrt(1 + (hertz / 500) ** 2)
    for formant_hz, width_hz in ((600.0, 200.0), (1_500.0, 300.0), (2_500.0, 400.0)):
        tract = tract + 0.5 * np.exp(-(((hertz - formant_hz) / width_hz) ** 2))
    noise = np.fft.irfft(spectrum * tract, count) * np.sqrt(np.sin(np.pi * np.arange(count) / count))
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def breathing() -> list[Spoken]:
    """Pairs of sentences with a breath between them, in turn 24, 30 and 36 dB below speech."""
    library = espeak.load()
    found: list[Spoken] = []
    for voice in VOICES:
        spoken = [library.speak(text, espeak.Voice(voice)) for text in TEXTS]
        for index, (first, second) in enumerate(zip(spoken[::2], spoken[1::2], strict=True)):
            found.append(with_breath(first, second, 24.0 + 6 * index, seed=len(found)))
    return found


def _loudest(spoken: Spoken) -> float:
    size = round(0.025 * spoken.rate_hz)
    windows = spoken.samples[: spoken.samples.size // size * size].reshape(-1, size).astype(np.float64)
    return float(np.sqrt((windows**2).mean(axis=1).max()))
