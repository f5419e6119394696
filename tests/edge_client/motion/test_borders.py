"""The borders between windows of motion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.motion.borders import REACH, WindowedTrack
from edge_client.motion.pose import POSE_SIZE, Poses

STEP_US = 40_000
WINDOW = 25
BORDER_US = WINDOW * STEP_US


def wave(start: int, count: int, lift: float = 0.0) -> Poses:
    """Smooth motion with an offset."""
    rows = 0.3 + 0.1 * np.sin(np.arange(start, start + count) * 0.4) + lift
    return np.repeat(rows.astype(np.float32)[:, None], POSE_SIZE, axis=1)


def track_of(lift: float, *, swapped: bool = False) -> WindowedTrack:
    """Two windows of a second, the second one with an offset."""
    track = WindowedTrack(25.0)
    windows = [(0, wave(0, WINDOW)), (BORDER_US, wave(WINDOW, WINDOW, lift))]
    for pts_us, poses in reversed(windows) if swapped else windows:
        track.add(pts_us, poses)
    return track


def values(track: WindowedTrack, step_us: int = STEP_US) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The first weight over both windows."""
    samples = [track.sample(pts_us) for pts_us in range(0, 2 * BORDER_US - STEP_US + 1, step_us)]
    return np.array([float(sample.pose[0]) for sample in samples if sample is not None])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_jump_is_spread_and_the_rest_is_as_it_came(swapped: bool) -> None:
    """The step at the border falls to the usual size; keyframes further than `REACH` away are unchanged, in any order."""
    raw, smooth = np.concatenate([wave(0, WINDOW), wave(WINDOW, WINDOW, 0.4)])[:, 0], values(track_of(0.4, swapped=swapped))
    usual = np.abs(np.diff(raw))[np.arange(2 * WINDOW - 1) != WINDOW - 1].max()
    assert np.abs(np.diff(raw)).max() > 0.35
    assert np.abs(np.diff(smooth)).max() < usual + 0.4 / (2 * REACH) + 1e-3
    away = np.r_[0 : WINDOW - REACH - 1, WINDOW + REACH : 2 * WINDOW]
    assert smooth[away] == pytest.approx(raw[away], abs=1e-6)


def test_between_keyframes_there_is_no_step_either() -> None:
    """Sampled every 2 ms, the face never jumps."""
    assert np.abs(np.diff(values(track_of(0.4), 2_000))).max() < 0.01


def test_motion_without_a_jump_is_not_touched() -> None:
    """Motion without a jump is unchanged, at any speed: no filter, and no lag."""
    smooth = values(track_of(0.0))
    assert smooth == pytest.approx(wave(0, 2 * WINDOW)[:, 0], abs=1e-6)


def test_short_payloads_are_no_windows() -> None:
    """A live source sends single keyframes: a step in them is intended."""
    track = WindowedTrack(25.0)
    for index in range(20):
        track.add(index * STEP_US, wave(index, 1, 0.0 if index < 10 else 0.5))
    before, after = track.sample(9 * STEP_US), track.sample(10 * STEP_US)
    assert before is not None and after is not None
    assert after.pose[0] - before.pose[0] > 0.4


def test_what_passed_is_forgotten_and_the_border_stays_smooth() -> None:
    """Pruning in step with playout does not change the output."""
    kept, pruned = track_of(0.4), track_of(0.4)
    for pts_us in range(0, 2 * BORDER_US - STEP_US, 8_000):
        pruned.prune(pts_us)
        one, other = kept.sample(pts_us), pruned.sample(pts_us)
        assert one is not None and other is not None
        assert one.pose == pytest.approx(other.pose, abs=1e-6)


@given(st.floats(-1, 1), st.integers(8, 60), st.integers(8, 60))
def test_the_step_never_grows(lift: float, first: int, second: int) -> None:
    """Smoothing makes no step over a border larger than it was, for windows of all lengths."""
    track = WindowedTrack(25.0)
    track.add(0, wave(0, first))
    track.add(first * STEP_US, wave(first, second, lift))
    raw = float(wave(first, 1, lift)[0, 0] - wave(first - 1, 1)[0, 0])
    before, after = track.sample((first - 1) * STEP_US), track.sample(first * STEP_US)
    assert before is not None and after is not None
    assert abs(float(after.pose[0] - before.pose[0])) <= abs(raw) + 1e-5
