"""From timed visemes to keyframes: neighbours blend, closures are kept.

Each viseme dominates the mouth while it lasts and fades before and after (dominance functions, after Cohen and Massaro 1993): at any time
the mouth is the mean of all visemes, weighted by their dominance at that time. Lip closures are exempt from the mean: around its middle a
closure moves the mouth to the closed shape, whatever its neighbours are, and a closure shorter than the keyframe interval is moved onto the
nearest keyframe, so that it is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay.mouth.shapes import MOUTH_SIZE, Mouths
from avatar_relay.mouth.visemes import CLOSING_S, Viseme, visemes_of

SPREAD_S = 0.055
"""Time in which the dominance of a viseme fades to 1/e, before and after it: about half a phoneme."""

VOWEL_SHARE = 0.35
"""Share of a short vowel's duration that a neighbouring closure may use."""


@dataclass(frozen=True, slots=True)
class Phoneme:
    """A phoneme with its start and end on the media line, in seconds; `ipa` is empty for a pause."""

    ipa: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Segment:
    viseme: Viseme
    start_s: float
    end_s: float


def keyframes(phonemes: Sequence[Phoneme], times_s: NDArray[np.float64]) -> Mouths:
    """Mouths at `times_s` (ascending), shape (times, MOUTH_SIZE). At rest if there are no phonemes."""
    segments = _segments(phonemes)
    if not segments or not times_s.size:
        return np.zeros((times_s.size, MOUTH_SIZE))
    shapes = np.stack([segment.viseme.mouth for segment in segments])
    rule = _rule(segments, times_s)
    mouths: Mouths = (rule @ shapes) / rule.sum(axis=1, keepdims=True)
    for index, segment in enumerate(segments):
        if segment.viseme.closes:
            before, after = (_closing_s(segments[at]) if 0 <= at < len(segments) else CLOSING_S for at in (index - 1, index + 1))
            closed = _closed(segment, times_s, before, after)[:, np.newaxis]
            mouths = mouths * (1 - closed) + segment.viseme.mouth * closed
    return mouths


def _segments(phonemes: Sequence[Phoneme]) -> list[_Segment]:
    segments: list[_Segment] = []
    for phoneme in phonemes:
        visemes = visemes_of(phoneme.ipa)
        edges = np.linspace(phoneme.start_s, phoneme.end_s, len(visemes) + 1)
        segments += [_Segment(viseme, edges[i], edges[i + 1]) for i, viseme in enumerate(visemes)]
    return segments


def _rule(segments: Sequence[_Segment], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The dominance of each segment at each time, shape (times, segments)."""
    starts = np.array([segment.start_s for segment in segments])
    ends = np.array([segment.end_s for segment in segments])
    strengths = np.array([segment.viseme.strength for segment in segments])
    times = times_s[:, np.newaxis]
    distance = np.maximum(np.maximum(starts - times, times - ends), 0.0)
    # The floor keeps the mean defined far from all segments: the nearest one dominates there.
    return np.asarray(strengths * (np.exp(-((distance / SPREAD_S) ** 2)) + 1e-9 / (1.0 + distance)))


def _closing_s(neighbour: _Segment) -> float:
    """Time to close or open the lips within a neighbour, in s; reduced in a short vowel, which two closures would hide."""
    return min(CLOSING_S, VOWEL_SHARE * (neighbour.end_s - neighbour.start_s)) if neighbour.viseme.vowel else CLOSING_S


def _closed(segment: _Segment, times_s: NDArray[np.float64], before_s: float, after_s: float) -> NDArray[np.float64]:
    """How far a closure closes the mouth at each time, 0 to 1; 1 at one keyframe at least. Closes in `before_s`, opens in `after_s`."""
    distance = np.maximum(np.maximum((segment.start_s - times_s) / before_s, (times_s - segment.end_s) / after_s), 0.0)
    nearest = np.argmin(np.abs(times_s - (segment.start_s + segment.end_s) / 2))
    if abs(times_s[nearest] - (segment.start_s + segment.end_s) / 2) <= CLOSING_S:
        distance[nearest] = 0.0
    open_ = np.clip(distance, 0.0, 1.0)
    return np.asarray(1.0 - open_ * open_ * (3.0 - 2.0 * open_))
