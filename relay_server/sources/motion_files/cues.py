"""Timed visemes to rows of weights, with coarticulation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from avatar_relay.mouth.shapes import KEYFRAMES_PER_SECOND, MOTION_FORMAT, to_weights
from relay_server.sources.coarticulation import Phoneme, keyframes
from relay_server.sources.motion_files.motion_clip import MAX_SECONDS, MotionClip, MotionFileError


class Cue(NamedTuple):
    """A viseme, given by one of its phonemes ("" for none), that lasts until the next cue begins."""

    start_s: float
    phoneme: str


def clip_of_cues(cues: Sequence[Cue], sound_s: float) -> MotionClip:
    """The mouth for `sound_s` seconds of sound; the last viseme lasts to the end. Raises `MotionFileError` if there are no visemes."""
    if not cues:
        raise MotionFileError("it has no visemes")
    if cues[-1].start_s > MAX_SECONDS:
        raise MotionFileError(f"it is {cues[-1].start_s:.0f} s long; at most {MAX_SECONDS} s are played")
    end = Cue(max(sound_s, cues[-1].start_s), "")
    line = pairwise([Cue(0.0, ""), *cues, end])
    phonemes = [Phoneme(cue.phoneme, cue.start_s, behind.start_s) for cue, behind in line if cue.start_s < behind.start_s]
    times_s = np.arange(max(1, round(sound_s * KEYFRAMES_PER_SECOND))) / KEYFRAMES_PER_SECOND
    return MotionClip(MOTION_FORMAT, to_weights(keyframes(phonemes, times_s)))
