"""Moods: what they move, what they leave alone, and their transitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from avatar_relay.media import Expression, ExpressionPreset
from edge_client.face.head import load_head
from edge_client.face.rig import Rig
from edge_client.motion.expressions import EASE_US, NO_MOOD, MoodFade, mood_weights, with_mood
from edge_client.motion.pose import BLENDSHAPES, Pose, neutral_pose
from tests.lab.face.viseme_poses import VISEMES, viseme_pose

MOODS = [preset for preset in ExpressionPreset if preset is not ExpressionPreset.NEUTRAL]


@pytest.fixture(scope="module")
def rig() -> Rig:
    """A rig of the built-in head."""
    return Rig(load_head())


def _moody(pose: Pose, preset: ExpressionPreset, intensity: float = 1.0) -> Pose:
    return with_mood(pose, mood_weights(Expression(preset, intensity)))


def test_neutral_is_what_motion_says() -> None:
    """Bit for bit; the same for any mood with intensity 0."""
    pose = viseme_pose("a")
    assert (_moody(pose, ExpressionPreset.NEUTRAL) == pose).all()
    assert all((_moody(pose, preset, 0.0) == pose).all() for preset in MOODS)


@pytest.mark.parametrize("preset", MOODS)
def test_lips_meet_in_every_mood(rig: Rig, preset: ExpressionPreset) -> None:
    """On the mesh: `p` and a shut mouth are as shut as without it, and no viseme opens much differently."""
    for ipa in VISEMES:
        plain, moody = rig.lip_gap(viseme_pose(ipa)), rig.lip_gap(_moody(viseme_pose(ipa), preset))
        assert abs(moody - plain) < (0.006 if ipa == "p" else 0.03), ipa
    assert rig.lip_gap(_moody(neutral_pose(), preset)) < rig.lip_gap(neutral_pose()) + 0.01


@pytest.mark.parametrize("preset", MOODS)
def test_moods_leave_jaw_and_rounding_alone(preset: ExpressionPreset) -> None:
    """Each moves something, and no two move the same; a rounded mouth keeps its corners."""
    weights = mood_weights(Expression(preset))
    assert weights.max() > 0.3
    assert not any(weights[index] for name, index in ARKIT_INDEX.items() if name.startswith(("jaw", "tongue", "mouthUpper", "mouthLower")))
    assert all(np.abs(weights - mood_weights(Expression(other))).max() > 0.2 for other in MOODS if other is not preset)
    corners = [index for name, index in ARKIT_INDEX.items() if name.startswith(("mouthSmile", "mouthFrown", "mouthDimple"))]
    rounded = neutral_pose()
    rounded[ARKIT_INDEX["mouthPucker"]] = 1.0
    assert (_moody(rounded, preset)[corners] == 0).all()


@given(st.lists(st.floats(0, 1, width=32), min_size=52, max_size=52), st.sampled_from(MOODS), st.floats(0, 1, width=32))
def test_moods_add_and_never_take(weights: list[float], preset: ExpressionPreset, intensity: float) -> None:
    """For any motion: no weight is reduced, none exceeds 1, and the pose itself is not modified."""
    pose = neutral_pose()
    pose[BLENDSHAPES] = weights
    before = pose.copy()
    mixed = _moody(pose, preset, intensity)
    assert (pose == before).all()
    assert (mixed >= pose - 1e-6).all()
    assert mixed[BLENDSHAPES].max() <= 1 + 1e-5


def test_moods_ease_in_and_out() -> None:
    """In steps of a picture, from one mood to another and to none, without a jump; times may decrease."""
    fade, happy, sad = MoodFade(), mood_weights(Expression(ExpressionPreset.HAPPY)), mood_weights(Expression(ExpressionPreset.SAD))
    now_us, shown = 0, [fade.step(NO_MOOD, 0).copy()]
    for wanted in (happy, sad, NO_MOOD):
        for _ in range(60):
            now_us += 33_333
            shown.append(fade.step(wanted, now_us).copy())
            assert (fade.step(wanted, now_us - 20_000) == shown[-1]).all()
        assert np.abs(shown[-1] - wanted).max() < 0.001
    assert np.abs(np.diff(shown, axis=0)).max() < 0.2
    fade.step(happy, now_us)
    assert fade.step(happy, now_us + EASE_US)[ARKIT_INDEX["mouthSmileLeft"]] == pytest.approx(0.632 * 0.7, abs=0.02)


def test_thinking_looks_up_and_aside() -> None:
    """Both eyes the same way."""
    pose = _moody(neutral_pose(), ExpressionPreset.THINKING)
    named = dict(zip(ARKIT_NAMES, pose[BLENDSHAPES].tolist(), strict=True))
    assert named["eyeLookUpLeft"] == named["eyeLookUpRight"] > 0.2
    assert named["eyeLookOutLeft"] == named["eyeLookInRight"] > 0.2
