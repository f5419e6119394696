"""The learned part of the analyser: maps the features around a moment to the mouth at that moment.

A linear map: on people's speech it does as well as a small neural network fitted on the same data, and it can be inspected. It was fitted
on speech of espeak-ng in many voices, whose phoneme times define the mouth (`scripts/assets/fit_mouth_model.py`), and is scored on people's
speech (`tests/lab/mouth/score.py`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from avatar_relay.mouth.features import BANDS, Features, Floats
from avatar_relay.mouth.shapes import FUNNEL, JAW, LOWER, PUCKER, SMILE, STRETCH, UPPER

MODEL_FILE = "mouth_model.npz"
LIVE_MODEL_FILE = "mouth_model_live.npz"

BAND_OFFSETS = (-12, -9, -6, -4, -2, 0, 2, 4, 6, 9, 12)
"""Offsets of the frames (10 ms) whose bands are inputs."""
FORMANT_OFFSETS = (-6, 0, 6)
CONTEXT_FRAMES = 12
"""Frames needed before, and after unless a model was fitted on fewer."""
LIVE_FUTURE_FRAMES = 2
"""Look-ahead of the model for `LIVE` in frames: with half a window of 25 ms, 32.5 ms of audio."""

MOUTH_OUTPUTS = (JAW, FUNNEL, PUCKER, LOWER, UPPER, STRETCH, SMILE)
"""Mouth parameters that the model computes, in the order of its outputs."""
LIPS_CLOSED = len(MOUTH_OUTPUTS)
"""Output: evidence that the lips touch (p b m); 0 for none, 1 is the mean of frames in which they do."""
OUTPUTS = LIPS_CLOSED + 1

_SILENT = -4.0
"""Lower bound of the bands relative to speech, in tens of dB; missing frames count as silence."""


@dataclass(frozen=True, slots=True, eq=False)
class MouthModel:
    """Outputs are inputs @ `matrix` + `offset`; shapes (inputs, OUTPUTS) and (OUTPUTS,)."""

    matrix: Floats
    offset: Floats

    def __call__(self, inputs: Floats) -> Floats:
        """Outputs for rows of inputs, shape (rows, OUTPUTS)."""
        return np.asarray(inputs @ self.matrix + self.offset)


@cache
def default_model(file: str = MODEL_FILE) -> MouthModel:
    """A model that ships with the package; loaded once."""
    data = (resources.files("avatar_relay.mouth") / file).read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return MouthModel(*(arrays[name].astype(np.float64) for name in MouthModel.__slots__))


def silent_rows(count: int) -> Floats:
    """Rows of `heard` for silence, before the first and after the last frame."""
    rows = np.zeros((count, BANDS + 3))
    rows[:, :BANDS] = _SILENT
    return rows


def heard(features: Features, bands: Floats) -> Floats:
    """The model's inputs from each frame: bands relative to speech, voicing, formants; shape (frames, BANDS + 3)."""
    formants = np.stack((features.voicing, features.f1_hz / 300.0 - 1.5, features.f2_hz / 500.0 - 3.0), axis=1)
    return np.hstack((np.clip(bands, _SILENT, 2.0), formants))


def inputs_of(rows: Floats, future_frames: int = CONTEXT_FRAMES) -> Floats:
    """Inputs for the frames that have `CONTEXT_FRAMES` rows before and `future_frames` after them."""
    count = max(0, len(rows) - CONTEXT_FRAMES - future_frames)

    def shifted(offset: int, columns: slice) -> Floats:
        start = CONTEXT_FRAMES + offset
        return rows[start : start + count, columns]

    bands = [shifted(offset, slice(0, BANDS)) for offset in sorted({min(offset, future_frames) for offset in BAND_OFFSETS})]
    formant_offsets = sorted({min(offset, future_frames) for offset in FORMANT_OFFSETS})
    formants = [shifted(offset, slice(BANDS, BANDS + 3)) for offset in formant_offsets]
    return np.hstack(bands + formants)
