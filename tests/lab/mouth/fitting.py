"""Fits the mouth models on synthetic speech of espeak-ng.

Sentences are spoken in several voices; noise, colour and level are varied. The target mouth motion comes from the phoneme
times of espeak-ng and the co-articulation of the source `speech`. Human recordings are reserved for scoring
(`tests/lab/mouth/score.py`). Seeded; takes a few seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay.mouth.features import HOP_S, FeatureExtractor, Features, join
from avatar_relay.mouth.model import (
    CONTEXT_FRAMES,
    LIPS_CLOSED,
    MOUTH_OUTPUTS,
    OUTPUTS,
    MouthModel,
    heard,
    inputs_of,
    silent_rows,
)
from avatar_relay.mouth.reference import SpeechReference
from avatar_relay.mouth.visemes import is_bilabial
from relay_server.sources import espeak
from relay_server.sources.coarticulation import keyframes
from relay_server.sources.espeak import Spoken

Floats = NDArray[np.float64]

VOICES = ("en-us", "en", "en-us+f2", "en-us+m3", "en-us+f4", "en-us+m7", "en-gb-scotland", "en-us+f5", "en-us+m1", "en+f3")
SENTENCES = (
    "Bob might pop five more purple balloons. My mother made plum jam.",
    "The quick brown fox jumps over the lazy dog.",
    "She sells sea shells by the sea shore, but he buys apples.",
    "Please put the big map back in my room before supper.",
    "Today we measured how much people think about weather.",
    "Who would have known that Peter piped for money?",
    "Tom took ten tickets to the gate, and Kate got cake.",
    "Amiable people may be prudent members of the public.",
    "A rod is used to catch pink salmon when the sun has gone down.",
    "Help the old woman get back to her feet with a pot of tea.",
    "Smoky fires lack flame and heat, and the soft cushion broke his fall.",
    "The salt breeze came across from the sea, and the girl sold fifty bonds.",
    "My problem is that nobody remembers the number of my new apartment.",
    "Maybe we should combine both maps before the bus departs from Birmingham.",
    "Copper pipes, wooden beams and paper lamps were piled up behind the pump.",
    "Good evening, ladies and gentlemen, thank you very much for being here.",
    "I think the weather will be fine this weekend, so let us go hiking.",
    "Can you give the dog some food, and take the cat outside as well?",
    "Six different kinds of sausage sizzled gently in the skillet on Thursday.",
    "He laughed at the joke until tears rolled down his cheeks.",
    "Empty cups stamped with a blue emblem tumbled from the table.",
    "What a beautiful morning, mumbled Barbara, pouring syrup on a pancake.",
    "Their leader received a letter that described every single decision.",
    "Nine yellow lions ran away. One, two, three, four, five, six, seven, eight.",
)

TAKES = 2
"""Number of differently distorted copies of each sentence in each voice."""
RIDGE = 30.0
"""Ridge penalty, small relative to the number of frames: it only stabilizes the solution."""


def disturbed(spoken: Spoken, random: np.random.Generator) -> Floats:
    """The samples with changed level and colour, and added noise."""
    samples = spoken.samples / 32_768
    coloured = samples.copy()
    coloured[1:] += random.uniform(-0.4, 0.6) * samples[:-1]
    noise = random.normal(size=samples.size) * 10 ** (random.uniform(-75, -45) / 20)
    return np.asarray(coloured * random.uniform(0.3, 1.0) + noise)


def features_of(samples: Floats, rate_hz: int) -> Features:
    """The features of all frames of these samples."""
    extractor = FeatureExtractor(rate_hz)
    return join(extractor.push(samples), extractor.finish())


def example(spoken: Spoken, random: np.random.Generator, future_frames: int) -> tuple[Floats, Floats]:
    """Inputs and targets of one sentence."""
    features = features_of(disturbed(spoken, random), spoken.rate_hz)
    bands, _ = SpeechReference(float(np.max(features.level_db)) + random.uniform(-3, 3)).push(features)
    rows = np.vstack((silent_rows(CONTEXT_FRAMES), heard(features, bands), silent_rows(future_frames)))
    inputs = inputs_of(rows, future_frames)
    times = np.arange(len(features), dtype=np.float64) * HOP_S
    targets = np.zeros((len(features), OUTPUTS))
    targets[:, : len(MOUTH_OUTPUTS)] = keyframes(spoken.phonemes, times)[:, MOUTH_OUTPUTS]
    for phoneme in spoken.phonemes:
        if is_bilabial(phoneme.ipa):
            targets[round(phoneme.start_s / HOP_S) : round(phoneme.end_s / HOP_S) + 1, LIPS_CLOSED] = 1.0
    return inputs, targets


def fit(inputs: Floats, targets: Floats) -> MouthModel:
    """Fit a model by ridge regression. Its outputs vary less than the targets, so they are stretched to the same variance.

    The lip contact output is stretched so that its mean is 0 in frames without contact and 1 in frames with contact.
    """
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    scaled = (inputs - mean) / spread
    middle = targets.mean(axis=0)
    matrix = np.linalg.solve(scaled.T @ scaled + RIDGE * np.eye(inputs.shape[1]), scaled.T @ (targets - middle))
    predicted = scaled @ matrix
    stretch = targets.std(axis=0) / predicted.std(axis=0)
    offset = middle.copy()
    closed = targets[:, LIPS_CLOSED] > 0.5
    evidence = predicted[:, LIPS_CLOSED]
    stretch[LIPS_CLOSED] = 1 / (evidence[closed].mean() - evidence[~closed].mean())
    offset[LIPS_CLOSED] = -evidence[~closed].mean() * stretch[LIPS_CLOSED]
    matrix = matrix * stretch / spread[:, np.newaxis]
    return MouthModel(matrix, offset - mean @ matrix)


def examples(future_frames: int) -> tuple[Floats, Floats]:
    """Inputs and targets of all sentences in all voices, for a model with `future_frames` of look-ahead."""
    random, library = np.random.default_rng(7), espeak.load()
    spoken = [library.speak(sentence, espeak.Voice(voice)) for voice in VOICES for sentence in SENTENCES]
    pairs = [example(piece, random, future_frames) for piece in spoken for _ in range(TAKES)]
    return np.vstack([pair[0] for pair in pairs]), np.vstack([pair[1] for pair in pairs])
