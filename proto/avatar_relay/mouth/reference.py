"""Reference levels of speech and silence, so that quiet and loud recordings, of any spectrum, are treated alike.

A peak follows the loudest speech at once and falls slowly; a floor follows the background at once downwards and rises slowly; the mean
spectrum of speech is taken over frames near the peak. Speech has gaps: a signal that never falls well under its own level is background, so
the peak keeps its distance from the floor. A quiet and unvoiced signal after a pause is breath: it counts as silence until speech
continues. All of it is causal.
"""

from __future__ import annotations

import numpy as np

from avatar_relay.mouth.features import BANDS, HOP_S, Features, Floats

TYPICAL_PEAK_DB = -20.0
"""Usual peak level of speech, the initial value of a new stream."""
TYPICAL_SPECTRUM_DB = np.array([-8.0, -7.0, -17.0, -22.0, -22.0, -33.0])
"""Mean of the bands in speech, relative to the peak (five LibriVox clips)."""

PEAK_FALL_DB_PER_S = 1.5
FLOOR_RISE_DB_PER_S = 3.0
SPECTRUM_TIME_S = 2.0
LOUD_DB = 20.0
"""Frames this close to the peak are certainly speech."""
SILENCE_UNDER_PEAK_DB = 38.0
SILENCE_OVER_FLOOR_DB = 8.0
LEAST_RANGE_DB = 24.0
"""Minimum distance of the peak from the floor."""
LEAST_SNR_DB = 18.0
"""The silence threshold stays this far under the peak: in loud noise only quiet speech is treated as silence."""
BREATH_AFTER_FRAMES = 12
"""Silence after which breath may follow. The closures of p, t and k are shorter."""
VOICED_FROM = 0.7
"""Voicing from which a frame is voiced. Breath noise stays below 0.65 in 99.9 % of its frames."""

_STEP = HOP_S / SPECTRUM_TIME_S


class SpeechReference:
    """Normalises a stream of frames. For one task."""

    def __init__(self, peak_db: float = TYPICAL_PEAK_DB) -> None:
        self._peak_db = peak_db
        self._floor_db = peak_db - LEAST_RANGE_DB
        self._spectrum_db = peak_db + TYPICAL_SPECTRUM_DB
        self._silent_frames = BREATH_AFTER_FRAMES

    def push(self, features: Features) -> tuple[Floats, Floats]:
        """Bands relative to speech in units of 10 dB, shape (frames, BANDS), and the level above silence or breath in dB, per frame."""
        bands = np.empty((len(features), BANDS))
        over = np.empty(len(features))
        for index, level_db in enumerate(features.level_db):
            self._follow(float(level_db), features.bands_db[index])
            bands[index] = (features.bands_db[index] - self._spectrum_db) / 10.0
            over[index] = level_db - self._silence_db(float(level_db), voiced=bool(features.voicing[index] >= VOICED_FROM))
        return bands, over

    def _follow(self, level_db: float, bands_db: Floats) -> None:
        self._floor_db = min(level_db, self._floor_db + FLOOR_RISE_DB_PER_S * HOP_S)
        self._peak_db = max(level_db, self._peak_db - PEAK_FALL_DB_PER_S * HOP_S, self._floor_db + LEAST_RANGE_DB)
        if level_db > self._peak_db - LOUD_DB:
            self._spectrum_db += _STEP * (bands_db - self._spectrum_db)

    def _silence_db(self, level_db: float, *, voiced: bool) -> float:
        """The level that the frame must reach to be speech."""
        over_floor = min(self._floor_db + SILENCE_OVER_FLOOR_DB, self._peak_db - LEAST_SNR_DB)
        silence_db = max(over_floor, self._peak_db - SILENCE_UNDER_PEAK_DB)
        if self._silent_frames >= BREATH_AFTER_FRAMES and not voiced:
            silence_db = max(silence_db, self._peak_db - LOUD_DB)
        self._silent_frames = self._silent_frames + 1 if level_db < silence_db else 0
        return silence_db
