"""Keyframes by PTS, and the pose between them."""

import random
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.motion.pose import POSE_SIZE, Poses
from edge_client.motion.track import MAX_KEYFRAMES, MotionTrack


def _poses(*values: float) -> Poses:
    return np.repeat(np.asarray(values, np.float32)[:, None], POSE_SIZE, axis=1)


def _value(track: MotionTrack, pts_us: int) -> float:
    sample = track.sample(pts_us)
    assert sample is not None
    return float(sample.pose[0])


def test_keyframe_n_is_at_its_pts_and_between_two_it_is_a_straight_line() -> None:
    """25 a second: 40 ms apart."""
    track = MotionTrack(25.0)
    track.add(0, _poses(0.0, 1.0, 0.5))
    assert [_value(track, pts) for pts in (0, 40_000, 80_000)] == [0.0, 1.0, 0.5]
    assert _value(track, 10_000) == pytest.approx(0.25)
    assert _value(track, 60_000) == pytest.approx(0.75)
    assert track.length_us == 120_000


def test_thirty_a_second_do_not_drift() -> None:
    """Steps of a third of a microsecond do not accumulate errors: keyframe 3,000 is at 100 s."""
    track = MotionTrack(30.0)
    for start in range(0, 3_001, 3):
        track.add(round(start * 1e6 / 30), _poses(start, start + 1, start + 2))
    assert _value(track, 100_000_000) == 3_000.0
    assert len(track) == 3_003


def test_holds_behind_the_end_and_says_so() -> None:
    """The last keyframe holds for an interval; then the PTS shown stops."""
    track = MotionTrack(25.0)
    track.add(0, _poses(0.0, 1.0))
    inside, behind = track.sample(79_999), track.sample(200_000)
    assert inside is not None
    assert behind is not None
    assert (inside.covered, inside.pts_us) == (True, 79_999)
    assert (behind.covered, behind.pts_us) == (False, 40_000)
    assert behind.pose[0] == 1.0


def test_nothing_before_the_first_keyframe() -> None:
    """A track that begins later does not move the face until then."""
    track = MotionTrack(25.0)
    assert track.sample(0) is None
    track.add(400_000, _poses(1.0))
    assert track.sample(399_999) is None
    assert _value(track, 400_000) == 1.0


def test_lost_window_is_held_then_approached_within_one_interval() -> None:
    """A mouth does not interpolate for seconds across a hole."""
    track = MotionTrack(25.0)
    track.add(0, _poses(0.0, 0.2))
    track.add(4_000_000, _poses(1.0))
    hole = track.sample(2_000_000)
    assert hole is not None
    assert (hole.covered, hole.pts_us) == (False, 40_000)
    assert hole.pose[0] == np.float32(0.2)
    assert _value(track, 3_980_000) == pytest.approx(0.6)
    assert track.covered_to(0) == 80_000
    assert track.covered_to(2_000_000) == 2_000_000


def test_a_short_gap_is_interpolated_and_a_longer_one_is_held() -> None:
    """A gap of up to 0.2 s between keyframes is interpolated; the track covers it."""
    short, long_ = MotionTrack(30.0), MotionTrack(30.0)
    for track, gap_us in ((short, 200_000), (long_, 200_010)):
        track.add(0, _poses(0.0))
        track.add(gap_us, _poses(1.0))
    assert _value(short, 100_000) == pytest.approx(0.5)
    assert short.covered_to(0) == short.covered_to(150_000) == 233_333
    assert _value(long_, 100_000) == 0.0
    assert long_.covered_to(0) == 33_333
    assert long_.covered_to(150_000) == 150_000


def test_keyframes_beside_the_grid_stay_where_they_are() -> None:
    """Explicit time codes are kept, here 10 ms off the grid."""
    track = MotionTrack(30.0)
    track.add(0, _poses(0.0, 0.2))
    track.add(76_667, _poses(1.0, 0.0))
    assert _value(track, 76_667) == 1.0
    assert _value(track, 110_000) == 0.0


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_windows_in_any_order_make_the_same_track(sizes: list[int], shuffler: random.Random) -> None:
    """Reordering and duplicates change nothing."""
    windows, first = [], 0
    for size in sizes:
        windows.append((first * 40_000, _poses(*(float(index) for index in range(first, first + size)))))
        first += size
    track, shuffled = MotionTrack(25.0), MotionTrack(25.0)
    for window in windows:
        track.add(*window)
    again = windows + windows[:2]
    shuffler.shuffle(again)
    for window in again:
        shuffled.add(*window)
    for pts_us in range(0, first * 40_000, 13_000):
        assert _value(track, pts_us) == _value(shuffled, pts_us)
    assert len(shuffled) == first
    assert shuffled.covered_to(0) == first * 40_000


@given(st.integers(0, 2_000_000), st.integers(0, 2_000_000))
def test_pruning_changes_nothing_from_there_on(pruned_us: int, pts_us: int) -> None:
    """After pruning, later output is unchanged; the past is removed; the length stays."""
    whole, pruned = MotionTrack(25.0), MotionTrack(25.0)
    for track in (whole, pruned):
        track.add(0, _poses(*(index / 50 for index in range(50))))
    pruned.prune(pruned_us)
    later_us = max(pruned_us, pts_us)
    assert _value(whole, later_us) == _value(pruned, later_us)
    assert len(pruned) <= 50 - min(pruned_us // 40_000, 49)
    assert pruned.length_us == 2_000_000


def test_bound_in_keyframes() -> None:
    """A payload that would exceed it changes nothing."""
    track = MotionTrack(25.0)
    assert track.add(0, np.zeros((MAX_KEYFRAMES, POSE_SIZE), np.float32))
    assert not track.add(0, _poses(1.0))
    assert len(track) == MAX_KEYFRAMES


def test_payloads_over_each_other_do_not_add_up() -> None:
    """Each keeps a few keyframes only; keeping all let a hostile relay fill 100 MB."""
    track, gone = MotionTrack(240.0), list[weakref.ref[Poses]]()
    for second in range(5):
        payload = np.zeros((4_096, POSE_SIZE), np.float32)
        gone.append(weakref.ref(payload))
        track.add(second * 1_000_000, payload)
    del payload
    assert [kept() for kept in gone] == [None] * 5
    assert len(track) > 4_096
