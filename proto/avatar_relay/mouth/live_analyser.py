"""Mouth motion from live audio: with little look-ahead, and no waiting.

The same features as `analyser`, a model fitted on `LIVE_FUTURE_FRAMES` of the future, and causal rules:
1. Silence of `PAUSE_FRAMES` is a pause until sound returns.
2. Mouths follow the audio like a first-order low-pass: 10 ms behind.
3. On strong evidence that the lips touch they close, within 30 ms; they open in `CLOSING_S`.
"""

from __future__ import annotations

import numpy as np

from avatar_relay.mouth.analyser import JAW_GAIN
from avatar_relay.mouth.features import HOP_S, WINDOW_S, FeatureExtractor, Features, Floats
from avatar_relay.mouth.model import (
    CONTEXT_FRAMES,
    LIPS_CLOSED,
    LIVE_FUTURE_FRAMES,
    LIVE_MODEL_FILE,
    MOUTH_OUTPUTS,
    MouthModel,
    default_model,
    heard,
    inputs_of,
    silent_rows,
)
from avatar_relay.mouth.reference import SpeechReference
from avatar_relay.mouth.shapes import JAW, MOUTH_SIZE, Mouths
from avatar_relay.mouth.visemes import CLOSING_S, LIPS_TOGETHER

LIVE_KEYFRAMES_PER_SECOND = 1 / HOP_S
LOOK_AHEAD_S = WINDOW_S / 2 + LIVE_FUTURE_FRAMES * HOP_S
"""Audio beyond a moment that its mouth needs."""
PAUSE_FRAMES = 3
CLOSED_FROM = 1.35
FOLLOWED = 0.5
"""Share of the distance to the target that a mouth moves in a frame."""
CLOSED_FRAMES = 3
"""Frames from open to closed lips."""
HELD_FRAMES = 2
"""Frames for which lips stay closed after the evidence, its own frame included: at least one picture shows it."""


class LiveMouthAnalyser:
    """Mouths, one per 10 ms, as soon as `LOOK_AHEAD_S` beyond them is available. For one task and one stream.

    `model` and `future_frames` belong together; the default is the model that ships.
    """

    def __init__(self, rate_hz: int, model: MouthModel | None = None, future_frames: int = LIVE_FUTURE_FRAMES) -> None:
        self._model = model or default_model(LIVE_MODEL_FILE)
        self._future_frames = future_frames
        self._extractor = FeatureExtractor(rate_hz)
        self._reference = SpeechReference()
        self._heard = silent_rows(CONTEXT_FRAMES)
        self._over_silence = np.zeros(0)
        self._mouth = np.zeros(MOUTH_SIZE)
        self._silent_frames = PAUSE_FRAMES
        self._closed = 0.0
        self._held_frames = 0

    def push(self, samples: Floats) -> Mouths:
        """The mouths that these samples (−1 to 1) complete, shape (keyframes, MOUTH_SIZE)."""
        return self._hear(self._extractor.push(samples))

    def finish(self) -> Mouths:
        """The remaining mouths."""
        last = self._hear(self._extractor.finish())
        return np.vstack((last, self._mouths(silent_rows(self._future_frames), np.zeros(0))))

    def _hear(self, features: Features) -> Mouths:
        bands, over = self._reference.push(features)
        return self._mouths(heard(features, bands), over)

    def _mouths(self, rows: Floats, over_silence: Floats) -> Mouths:
        self._heard = np.vstack((self._heard, rows))
        self._over_silence = np.concatenate((self._over_silence, over_silence))
        outputs = self._model(inputs_of(self._heard, self._future_frames))
        count = len(outputs)
        silent = self._over_silence[:count] < 0.0
        self._heard, self._over_silence = self._heard[count:], self._over_silence[count:]
        found = np.zeros((count, MOUTH_SIZE))
        found[:, MOUTH_OUTPUTS] = np.clip(outputs[:, : len(MOUTH_OUTPUTS)], 0.0, 1.0)
        found[:, JAW] = np.minimum(found[:, JAW] * JAW_GAIN, 1.0)
        touching = outputs[:, LIPS_CLOSED] >= CLOSED_FROM
        for index in range(count):
            found[index] = self._next(found[index], silent=bool(silent[index]), touching=bool(touching[index]))
        return found

    def _next(self, mouth: Mouths, *, silent: bool, touching: bool) -> Mouths:
        """The mouth of a frame, from its target and the previous mouth."""
        self._silent_frames = self._silent_frames + 1 if silent else 0
        target = mouth if self._silent_frames < PAUSE_FRAMES else np.zeros(MOUTH_SIZE)
        self._mouth = self._mouth + FOLLOWED * (target - self._mouth)
        self._held_frames = HELD_FRAMES if touching else self._held_frames - 1
        step = 1 / CLOSED_FRAMES if self._held_frames > 0 else -HOP_S / CLOSING_S
        self._closed = min(1.0, max(0.0, self._closed + step))
        closed = self._closed * self._closed * (3.0 - 2.0 * self._closed)
        return np.asarray(self._mouth * (1 - closed) + LIPS_TOGETHER.mouth * closed)
