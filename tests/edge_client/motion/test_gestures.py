"""Nods and brow beats: from the sound alone, independent of how it is split, bounded in size and speed."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_client.motion.gestures import (
    AT_REST,
    BROW,
    BROW_PER_S,
    FALL_S,
    NOD_RAD,
    NOD_RAD_PER_S,
    REACH_S,
    RISE_S,
    Beats,
    Gesture,
    GestureFade,
    with_gesture,
)
from edge_client.motion.pose import NECK_ROTATION, neutral_pose
from tests.edge_client.face.poses import pose_of

RATE_HZ = 16_000
STEP_US = 10_000
Pcm = NDArray[np.int16]


def syllables(*spoken: tuple[float, float], seconds: float = 4.0) -> Pcm:
    """A quiet hum with syllables: (time of the peak in s, loudness 0 to 1)."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    loud = np.full(len(at), 1e-4)
    for peak_s, level in spoken:
        loud += level * np.exp(-(((at - peak_s) / 0.07) ** 2))
    return np.asarray(np.rint(30_000 * np.minimum(loud, 1) * np.sin(2 * np.pi * 160 * at)), np.int16)


def heard(pcm: Pcm, cuts: tuple[int, ...] = (), *, live: bool = False) -> Beats:
    """All of it, in these pieces."""
    beats = Beats(RATE_HZ, live=live)
    for begin, end in pairwise(sorted({0, len(pcm), *(cut % len(pcm) for cut in cuts)})):
        beats.hear(begin * 1e6 / RATE_HZ, pcm[begin:end])
    return beats


def line(beats: Beats, seconds: float = 4.0) -> list[Gesture]:
    """The gesture at each 10 ms."""
    return [beats.at(pts_us) for pts_us in range(0, round(seconds * 1e6), STEP_US)]


SPOKEN = ((0.6, 0.9), (1.5, 0.5), (2.6, 0.9))


def test_a_nod_is_at_its_height_with_each_stressed_syllable() -> None:
    """A nod peaks with each stressed syllable, to within a frame; between them the head is at rest."""
    nods = np.array([gesture.nod_rad for gesture in line(heard(syllables(*SPOKEN)))])
    peaks = [place for place in range(1, len(nods) - 1) if nods[place - 1] < nods[place] >= nods[place + 1]]
    assert np.allclose(np.array(peaks) * 0.01, [peak_s for peak_s, _ in SPOKEN], atol=0.03)
    assert nods[[20, 110, 205, 350]].max() == 0


def test_brows_rise_with_the_beginning_of_a_phrase() -> None:
    """Brows rise after quiet; a weak syllable soon after only nods."""
    beats = heard(syllables((0.6, 0.9), (1.2, 0.35), (1.8, 0.35)))
    brows = [beats.at(round(peak_s * 1e6)).brow for peak_s in (0.6, 1.2)]
    assert brows[0] > 0.5 * BROW
    assert heard(syllables((0.6, 0.9), (2.4, 0.4))).at(2_400_000).brow > 0


@given(st.lists(st.integers(0, 4 * RATE_HZ - 1), max_size=40).map(tuple))
@settings(max_examples=12, deadline=None)
def test_cuts_change_nothing(cuts: tuple[int, ...]) -> None:
    """The same sound in any pieces yields the same gestures."""
    pcm = syllables(*SPOKEN)
    assert line(heard(pcm, cuts)) == line(heard(pcm))


@given(spoken=st.lists(st.tuples(st.floats(0.2, 3.8), st.floats(0, 1)), max_size=12), live=st.booleans())
@settings(max_examples=15, deadline=None)
def test_gestures_are_bounded_in_size_and_speed(spoken: list[tuple[float, float]], live: bool) -> None:
    """Any sound, cut short anywhere: within the largest gesture and the largest speed, whatever is known when."""
    pcm = syllables(*spoken)
    beats, fade, shown = Beats(RATE_HZ, live=live), GestureFade(), [AT_REST]
    ahead = round(0.04 * RATE_HZ) if live else RATE_HZ // 2
    given_frames = 0
    for pts_us in range(0, 4_500_000, STEP_US):
        until = min(len(pcm), round(pts_us * RATE_HZ / 1e6) + ahead)
        if until > given_frames:
            beats.hear(given_frames * 1e6 / RATE_HZ, pcm[given_frames:until])
            given_frames = until
        shown.append(fade.step(beats.at(pts_us), 1_000_000 + pts_us))
    assert all(0 <= gesture.nod_rad <= NOD_RAD and 0 <= gesture.brow <= BROW for gesture in shown)
    for one, other in pairwise(shown):
        assert abs(other.nod_rad - one.nod_rad) <= NOD_RAD_PER_S * STEP_US / 1e6 + 1e-9
        assert abs(other.brow - one.brow) <= BROW_PER_S * STEP_US / 1e6 + 1e-9
    assert shown[-1] == AT_REST


@pytest.mark.parametrize("level", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["tone", "noise"])
def test_steady_sound_moves_nothing(kind: str, level: float) -> None:
    """Steady sound moves nothing, from its beginning on."""
    at = np.arange(3 * RATE_HZ) / RATE_HZ
    wave = np.sin(2 * np.pi * 220 * at) if kind == "tone" else np.random.default_rng(3).uniform(-1, 1, len(at))
    pcm = np.concatenate([np.zeros(RATE_HZ), 30_000 * level * wave]).astype(np.int16)
    assert set(line(heard(pcm))) == {AT_REST}


def test_live_gestures_begin_when_the_peak_is_known() -> None:
    """In `LIVE`, no gesture starts before the sound that causes it was heard."""
    beats = heard(syllables((1.0, 0.9)), live=True)
    first = next(place for place, gesture in enumerate(line(beats)) if gesture != AT_REST)
    assert 1.0 + REACH_S - 0.03 < first * 0.01 < 1.0 + REACH_S + 0.05
    assert beats.at(round((1.0 + REACH_S + 2 * RISE_S + FALL_S) * 1e6)) == AT_REST


def test_a_jump_on_the_line_begins_afresh() -> None:
    """A beat has the PTS of its sound."""
    beats, pcm = Beats(RATE_HZ), syllables((0.6, 0.9), seconds=1.0)
    beats.hear(0, pcm)
    beats.hear(5_000_000, pcm)
    nods = [place * 0.01 for place, gesture in enumerate(line(beats, 7)) if gesture.nod_rad > 0.9 * NOD_RAD * 0.4]
    assert min(nods) < 0.7
    assert 5.5 < max(nods) < 6.0


def test_a_gesture_moves_neck_and_brows_only() -> None:
    """It adds to brows that are raised already, up to their limit."""
    pose = pose_of(browInnerUp=0.9, jawOpen=0.5)
    mixed = with_gesture(pose, Gesture(0.03, 0.3))
    assert mixed[NECK_ROTATION.start] == pytest.approx(0.03)
    changed = np.flatnonzero(mixed - pose)
    assert mixed.max() <= 1
    assert set(changed) == {NECK_ROTATION.start, *np.flatnonzero(pose_of(browInnerUp=1, browOuterUp=1))}
    assert with_gesture(neutral_pose(), AT_REST) is not None
    assert math.isclose(float(pose[NECK_ROTATION.start]), 0)
