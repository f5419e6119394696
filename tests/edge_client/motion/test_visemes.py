"""Visemes as mouth poses."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import MotionEncoding, MotionFormat, NameSet
from edge_client.face.head import load_head
from edge_client.face.rig import Rig
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.pose import POSE_SIZE, Pose
from edge_client.motion.track import MotionTrack
from tests.avatar_relay.test_columns import NAMES

RATE = 30.0
LIPS = {NameSet.OCULUS: "PP", NameSet.AZURE: "21", NameSet.POLLY: "p", NameSet.RHUBARB: "A"}
OPEN = {NameSet.OCULUS: "aa", NameSet.AZURE: "2", NameSet.POLLY: "a", NameSet.RHUBARB: "D", NameSet.VRM: "aa"}
REST = {NameSet.OCULUS: "sil", NameSet.AZURE: "0", NameSet.POLLY: "sil", NameSet.RHUBARB: "X"}


def track_of(name_set: NameSet, spoken: list[tuple[str, int]], rate: float = RATE) -> MotionTrack:
    """Visemes for so many keyframes each; an unknown name is a row of zeros."""
    names = tuple(NAMES[name_set])
    decoder = make_motion_decoder(MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, rate, names, name_set))
    track = decoder.make_track(rate)
    rows = [[float(name == viseme) for name in names] for viseme, count in spoken for _ in range(count)]
    assert track.add(0, decoder.decode(weights.write(rows)))
    return track


def pose_at(track: MotionTrack, keyframe: float) -> Pose:
    """The pose at a keyframe."""
    sample = track.sample(round(keyframe * track.step_us))
    assert sample is not None
    assert sample.pose.shape == (POSE_SIZE,)
    return sample.pose


@pytest.fixture(scope="module")
def rig() -> Rig:
    """The drawn head."""
    return Rig(load_head())


@pytest.mark.parametrize("name_set", LIPS)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_lips_touch_for_p_b_m_and_part_for_vowels(rig: Rig, name_set: NameSet, count: int) -> None:
    """On the drawn mesh: closures of 67 ms and more between wide open vowels, at each keyframe of them."""
    shut, vowel = rig.lip_gap(np.zeros(POSE_SIZE, np.float32)), OPEN[name_set]
    track = track_of(name_set, [(REST[name_set], 6), (vowel, 5), (LIPS[name_set], count), (vowel, 5), (REST[name_set], 9)])
    gaps = [rig.lip_gap(pose_at(track, keyframe)) - shut for keyframe in range(6 + 5 + count + 5 + 9)]
    wide = max(gaps)
    assert wide > 0.25 * (rig.lip_gap(np.eye(POSE_SIZE, dtype=np.float32)[ARKIT_INDEX["jawOpen"]]) - shut)
    assert max(gaps[11 : 11 + count]) < 0.1 * wide
    assert min(gaps[8], gaps[13 + count]) > 0.6 * wide
    assert max(*gaps[:3], *gaps[-4:]) < 0.05 * wide


@pytest.mark.parametrize("name_set", OPEN)
def test_open_vowels_open_and_nothing_rests(rig: Rig, name_set: NameSet) -> None:
    """A row of zeros is a mouth at rest, even for a set that has no name for it."""
    shut = rig.lip_gap(np.zeros(POSE_SIZE, np.float32))
    track = track_of(name_set, [("", 8), (OPEN[name_set], 10), ("", 8)])
    assert rig.lip_gap(pose_at(track, 13)) > shut + 0.3 * (rig.lip_gap(np.eye(POSE_SIZE, dtype=np.float32)[ARKIT_INDEX["jawOpen"]]) - shut)
    assert rig.lip_gap(pose_at(track, 2)) == pytest.approx(shut, abs=1e-3)


def test_neighbours_colour_each_other() -> None:
    """An `s` between two `u` is rounder than between two `i`, and nothing jumps."""
    pucker = ARKIT_INDEX["mouthPucker"]
    between = [track_of(NameSet.POLLY, [(vowel, 5), ("s", 2), (vowel, 5)]) for vowel in "ui"]
    assert pose_at(between[0], 5.5)[pucker] > pose_at(between[1], 5.5)[pucker] + 0.1
    shown = np.stack([pose_at(between[0], keyframe / 10) for keyframe in range(110)])
    assert np.abs(np.diff(shown, axis=0)).max() < 0.08


def test_expressions_and_blendshapes_beside_visemes() -> None:
    """A VRM blink is not subject to coarticulation."""
    track = track_of(NameSet.VRM, [("", 4), ("blink", 1), ("", 4)])
    blink = ARKIT_INDEX["eyeBlinkLeft"]
    assert [float(pose_at(track, keyframe)[blink]) for keyframe in (3, 4, 5)] == [0.0, 1.0, 0.0]


def test_what_passed_is_forgotten_as_late_as_it_rules() -> None:
    """Pruning in step with playout does not change the output."""
    spoken = [("sil", 3), ("p", 2), ("a", 4), ("f", 2), ("u", 4)]
    kept, pruned = track_of(NameSet.POLLY, spoken), track_of(NameSet.POLLY, spoken)
    for keyframe in np.arange(0, 15, 0.3):
        pruned.prune(round(keyframe * pruned.step_us))
        np.testing.assert_array_equal(pose_at(kept, keyframe), pose_at(pruned, keyframe))
    assert len(pruned) < len(kept)
