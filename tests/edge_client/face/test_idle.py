"""Idle motion: reproducible, never still, and without effect on the mouth of speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.face.idle import CYCLE_S, MOUTH_INDEXES, IdleLife, combine
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, LEFT_EYE_ROTATION, neutral_pose
from tests.edge_client.face.poses import pose_of, turned

_BLINK = ARKIT_INDEX["eyeBlinkLeft"]
_STEP_S = 1 / 50


def test_the_same_seed_lives_the_same_life() -> None:
    """Equal seeds give equal poses at equal times, whatever was requested before; other seeds do not."""
    one, twin, other = IdleLife(7), IdleLife(7), IdleLife(8)
    times = [0.0, 3.7, 1.2, 59.9, 599.9]
    twin.pose(333.3)
    assert all((one.pose(time) == twin.pose(time)).all() for time in times)
    assert any((one.pose(time) != other.pose(time)).any() for time in times)


@given(st.integers(0, 2**63), st.floats(-1e6, 1e6))
@settings(max_examples=30, deadline=None)
def test_poses_are_in_range_at_any_time(seed: int, time_s: float) -> None:
    """Weights 0 to 1, small rotations, everything finite, mouth at rest."""
    pose = IdleLife(seed).pose(time_s)
    assert np.isfinite(pose).all()
    assert ((pose[BLENDSHAPES] >= 0) & (pose[BLENDSHAPES] <= 1)).all()
    assert np.abs(pose[BLENDSHAPES.stop :]).max() < 0.6
    assert not pose[list(MOUTH_INDEXES)].any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_blinks_like_a_person(seed: int) -> None:
    """8 to 35 complete blinks a minute, each shut for a short time, eyes open for most of it."""
    life = IdleLife(seed)
    lids = np.array([life.pose(step * _STEP_S)[_BLINK] for step in range(round(60 / _STEP_S))])
    shut = lids > 0.8
    blinks = int((np.diff(shut.astype(int)) == 1).sum())
    assert 8 <= blinks <= 35
    assert shut.mean() < 0.1
    assert np.median(lids) < 0.2


def test_it_never_freezes_and_never_jumps() -> None:
    """The head always drifts, by less than half a degree between two pictures."""
    life = IdleLife(5)
    head = np.array([life.pose(step * _STEP_S)[HEAD_ROTATION] for step in range(1500)])
    moves = np.abs(np.diff(head, axis=0)).max(1)
    assert moves.max() < 0.009
    assert np.ptp(head, axis=0).min() > 0.005


@pytest.mark.parametrize("seed", [1, 5])
def test_gaze_meets_and_leaves_like_a_persons(seed: int) -> None:
    """The gaze meets the viewer's for most of the time, never for longer than seven seconds, and turns away for a second or two."""
    life = IdleLife(seed)
    gaze = np.array([life.pose(step * _STEP_S)[LEFT_EYE_ROTATION] for step in range(round(120 / _STEP_S))])
    meets = np.hypot(gaze[:, 0], gaze[:, 1]) < 0.072
    assert 0.55 < meets.mean() < 0.9
    edges = np.flatnonzero(np.diff(np.concatenate([[0], meets.astype(int), [0]])))
    assert (np.diff(edges)[::2] * _STEP_S).max() < 8.5
    assert (np.diff(edges)[1::2] * _STEP_S).max() < 2.6


def test_a_turn_of_the_eyes_takes_as_long_as_it_is_wide() -> None:
    """The eyes rest for most of the time. A saccade of A degrees takes about 25 ms + 2.4 ms × A."""
    life, step_s = IdleLife(5), 1 / 500
    gaze = np.array([life.pose(step * step_s)[LEFT_EYE_ROTATION] for step in range(round(60 / step_s))])
    moving = np.abs(np.diff(gaze, axis=0)).max(1) > 1e-6
    assert 0.01 < moving.mean() < 0.15
    edges = np.flatnonzero(np.diff(np.concatenate([[0], moving.astype(int), [0]]))).reshape(-1, 2)
    wide = np.array([np.degrees(np.linalg.norm(gaze[last] - gaze[first])) for first, last in edges])
    lasts = np.diff(edges, axis=1)[:, 0] * step_s
    assert np.abs(lasts - (0.025 + 0.0024 * wide)).max() < 0.005
    assert wide.max() > 8


def test_the_script_repeats() -> None:
    """After a cycle the blinks repeat."""
    life = IdleLife(3)
    assert life.pose(10.0)[_BLINK] == life.pose(10.0 + CYCLE_S)[_BLINK]


def test_speech_owns_the_mouth() -> None:
    """The mouth is that of speech, even where its weights are 0."""
    idle, speech = pose_of(jawOpen=0.5, mouthSmile=0.4), pose_of(mouthFunnel=0.7)
    both = combine(idle, speech)
    assert (both[list(MOUTH_INDEXES)] == speech[list(MOUTH_INDEXES)]).all()


def test_idle_owns_gaze_and_head_unless_speech_moves_them() -> None:
    """Motion without head or eyes gets those of idle motion; motion with them keeps its own."""
    idle = IdleLife(1).pose(2.0)
    still = combine(idle, pose_of(jawOpen=0.5))
    assert (still[HEAD_ROTATION] == idle[HEAD_ROTATION]).all()
    assert (still[LEFT_EYE_ROTATION] == idle[LEFT_EYE_ROTATION]).all()
    moved = combine(idle, turned(jawOpen=0.5, head=(0.1, 0, 0), eyeLookUp=0.5))
    assert moved[HEAD_ROTATION].tolist() == pytest.approx([0.1, 0, 0])
    assert not moved[LEFT_EYE_ROTATION].any()


def test_both_may_blink() -> None:
    """The stronger blink is used, and neither input is modified."""
    idle, speech = pose_of(eyeBlink=1.0), pose_of(eyeBlink=0.2, browInnerUp=0.5)
    both = combine(idle, speech)
    assert both[_BLINK] == 1.0
    assert both[ARKIT_INDEX["browInnerUp"]] == pytest.approx(0.5)
    assert (idle == pose_of(eyeBlink=1.0)).all()


def test_the_neutral_pair_is_neutral() -> None:
    """Neutral with neutral is neutral; every index is either the mouth's or not."""
    assert not combine(neutral_pose(), neutral_pose()).any()
    assert set(MOUTH_INDEXES) == {
        index for index, name in enumerate(ARKIT_NAMES) if name.startswith(("jaw", "mouth", "tongue")) or name == "cheekPuff"
    }
