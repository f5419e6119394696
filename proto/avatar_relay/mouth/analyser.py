"""Mouth motion from audio alone, computed incrementally.

The features around each moment determine the mouth (`model`), then three rules apply:
1. A pause is a silence of 120 ms or more: there the mouth rests. Shorter silences are the closures of p, t and k.
2. Mouths are smoothed over some 50 ms, since lips and jaw are no faster than that.
3. If the evidence is strong that the lips touch, they do, however open the sound around it is; for long enough
   that at least one keyframe shows it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay.mouth.features import HOP_S, FeatureExtractor, Features, Floats
from avatar_relay.mouth.model import (
    CONTEXT_FRAMES,
    LIPS_CLOSED,
    MOUTH_OUTPUTS,
    OUTPUTS,
    MouthModel,
    default_model,
    heard,
    inputs_of,
    silent_rows,
)
from avatar_relay.mouth.reference import TYPICAL_PEAK_DB, SpeechReference
from avatar_relay.mouth.shapes import JAW, KEYFRAMES_PER_SECOND, MOUTH_SIZE, Mouths
from avatar_relay.mouth.visemes import CLOSING_S, LIPS_TOGETHER

PAUSE_FRAMES = 12
CLOSED_FROM = 1.4
"""Evidence from which the lips touch; tuned on espeak-ng's speech, to find most closures and close few vowels."""
JAW_GAIN = 1.35
"""The audio reveals less than the full opening of the jaw: opened a little further, it reads better from a distance."""

_SMOOTHING_FRAMES = 5
_SMOOTHING = np.exp(-0.5 * (np.arange(-_SMOOTHING_FRAMES, _SMOOTHING_FRAMES + 1) / 2.0) ** 2)
_CLOSED_PLATEAU_S = 0.5 / KEYFRAMES_PER_SECOND
_RAMP_FRAMES = round((CLOSING_S + _CLOSED_PLATEAU_S) / HOP_S)
_BEFORE_FRAMES = PAUSE_FRAMES + max(_SMOOTHING_FRAMES, _RAMP_FRAMES)
_AHEAD_FRAMES = _BEFORE_FRAMES

LATENCY_S = (CONTEXT_FRAMES + _AHEAD_FRAMES + 2) * HOP_S + 1 / KEYFRAMES_PER_SECOND
"""Upper bound of the audio needed beyond a moment for its mouth."""


class MouthAnalyser:
    """Mouths from a stream of mono samples, at `KEYFRAMES_PER_SECOND`. For one task.

    `peak_db` is the level of the loudest speech (RMS of 25 ms, full scale 0) if known beforehand.
    """

    def __init__(self, rate_hz: int, peak_db: float = TYPICAL_PEAK_DB, model: MouthModel | None = None) -> None:
        self._rate_hz = rate_hz
        self._model = model or default_model()
        self._extractor = FeatureExtractor(rate_hz)
        self._reference = SpeechReference(peak_db)
        self._heard = silent_rows(CONTEXT_FRAMES)
        # Rows of outputs and loudness begin at frame `_first`: silence precedes the first sample.
        self._first = -_BEFORE_FRAMES
        self._outputs = np.zeros((_BEFORE_FRAMES, OUTPUTS))
        self._over_silence = np.full(_BEFORE_FRAMES, -1.0)
        self._samples = 0
        self._given = 0

    def push(self, samples: Floats) -> Mouths:
        """The mouths that these samples (−1 to 1) complete, shape (keyframes, MOUTH_SIZE)."""
        self._samples += samples.size
        self._hear(self._extractor.push(samples))
        return self._take(self._first + len(self._outputs) - _AHEAD_FRAMES - 1)

    def finish(self) -> Mouths:
        """The remaining mouths: in total, one for each 1/30 s that has begun, rounded."""
        self._hear(self._extractor.finish())
        self._heard_silence(CONTEXT_FRAMES + _AHEAD_FRAMES + round(1 / (KEYFRAMES_PER_SECOND * HOP_S)) + 2)
        due = round(self._samples / self._rate_hz * KEYFRAMES_PER_SECOND) - self._given
        return self._take(self._first + len(self._outputs) - _AHEAD_FRAMES - 1)[:due]

    def _hear(self, features: Features) -> None:
        bands, over = self._reference.push(features)
        self._append(heard(features, bands), over)

    def _heard_silence(self, frames: int) -> None:
        self._append(silent_rows(frames), np.full(frames, -1.0))

    def _append(self, rows: Floats, over: Floats) -> None:
        self._heard = np.vstack((self._heard, rows))
        outputs = self._model(inputs_of(self._heard))
        self._heard = self._heard[len(outputs) :]
        self._outputs = np.vstack((self._outputs, outputs))
        self._over_silence = np.concatenate((self._over_silence, over))

    def _take(self, last_frame: int) -> Mouths:
        """Mouths of the keyframes up to a frame that has its full context; discards data that is no longer needed."""
        count = max(0, int(last_frame * HOP_S * KEYFRAMES_PER_SECOND + 1e-9) + 1 - self._given)
        if not count:
            return np.zeros((0, MOUTH_SIZE))
        at = (np.arange(self._given, self._given + count) / KEYFRAMES_PER_SECOND) / HOP_S - self._first
        mouths = _sample(_shape(self._outputs, self._over_silence[: len(self._outputs)]), at)
        self._given += count
        keep_from = max(0, int(self._given / KEYFRAMES_PER_SECOND / HOP_S) - _BEFORE_FRAMES - self._first)
        self._outputs, self._over_silence = self._outputs[keep_from:], self._over_silence[keep_from:]
        self._first += keep_from
        return mouths


def _shape(outputs: Floats, over_silence: Floats) -> Mouths:
    """Mouths of all frames. Those near either end lack context and are not used."""
    mouths = np.zeros((len(outputs), MOUTH_SIZE))
    mouths[:, MOUTH_OUTPUTS] = np.clip(outputs[:, : len(MOUTH_OUTPUTS)], 0.0, 1.0)
    mouths[:, JAW] = np.clip(mouths[:, JAW] * JAW_GAIN, 0.0, 1.0)
    mouths[_pauses(over_silence < 0.0)] = 0.0
    mouths = _smooth(mouths)
    closed = _closed(outputs[:, LIPS_CLOSED] >= CLOSED_FROM)[:, np.newaxis]
    return np.asarray(mouths * (1 - closed) + LIPS_TOGETHER.mouth * closed * (mouths[:, [JAW]] > 0))


def _pauses(silent: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames within silences of `PAUSE_FRAMES` or more."""
    run = np.convolve(silent, np.ones(PAUSE_FRAMES), "full") >= PAUSE_FRAMES - 0.5
    return np.convolve(run, np.ones(PAUSE_FRAMES), "full")[PAUSE_FRAMES - 1 :][: silent.size] > 0.5


def _smooth(mouths: Mouths) -> Mouths:
    weight = np.convolve(np.ones(len(mouths)), _SMOOTHING, "same")
    return np.stack([np.convolve(column, _SMOOTHING, "same") / weight for column in mouths.T], axis=1)


def _closed(touching: NDArray[np.bool_]) -> Floats:
    """Closure of the lips at each frame, 0 to 1: they close before and open after, in `CLOSING_S`."""
    distance = np.abs(np.arange(-_RAMP_FRAMES, _RAMP_FRAMES + 1)) * HOP_S
    open_ = np.clip((distance - _CLOSED_PLATEAU_S) / CLOSING_S, 0.0, 1.0)
    ramp = 1.0 - open_ * open_ * (3.0 - 2.0 * open_)
    closed = np.zeros(touching.size + 2 * _RAMP_FRAMES)
    for frame in np.flatnonzero(touching):
        part = closed[frame : frame + ramp.size]
        np.maximum(part, ramp, out=part)
    return closed[_RAMP_FRAMES : _RAMP_FRAMES + touching.size]


def _sample(mouths: Mouths, at: Floats) -> Mouths:
    below = np.floor(at).astype(int)
    part = (at - below)[:, np.newaxis]
    return np.asarray(mouths[below] * (1 - part) + mouths[below + 1] * part)
