"""Moods on pictures of the drawn head: lips meet in each of them, open mouths stay open, and each is distinct."""

from __future__ import annotations

import pytest

from avatar_relay.media import Expression, ExpressionPreset
from edge_client.face.renderer import Picture, Renderer
from edge_client.motion.expressions import mood_weights, with_mood
from edge_client.motion.pose import Pose
from tests.lab.face.pixels import changed_part, mouth_opening_px
from tests.lab.face.viseme_poses import viseme_pose

MOODS = [preset for preset in ExpressionPreset if preset is not ExpressionPreset.NEUTRAL]


def _drawn(renderer: Renderer, pose: Pose) -> Picture:
    renderer.draw(pose)
    return renderer.read()


@pytest.mark.parametrize("preset", MOODS)
def test_lips_meet_and_part_in_every_mood(gles: Renderer, preset: ExpressionPreset) -> None:
    """In pixels: no gap for `p`; the opening of `a` changes by less than a fifth."""
    mood = mood_weights(Expression(preset))
    assert mouth_opening_px(_drawn(gles, with_mood(viseme_pose("p"), mood))) < 3
    plain = mouth_opening_px(_drawn(gles, viseme_pose("a")))
    assert abs(mouth_opening_px(_drawn(gles, with_mood(viseme_pose("a"), mood))) - plain) < 0.2 * plain
    assert changed_part(_drawn(gles, viseme_pose("p")), _drawn(gles, with_mood(viseme_pose("p"), mood)), 8) > 0.002
