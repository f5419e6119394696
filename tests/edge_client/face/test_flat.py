"""The vector face: every shape is visible, lips and lids follow their weights, and only changed parts are drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.face.flat_features import WHITE
from edge_client.face.flat_mouth import lips_of, mouth_shapes, weights_of
from edge_client.face.renderer import Picture, Renderer
from edge_client.motion.pose import BLENDSHAPES, LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose, neutral_pose
from tests.edge_client.face.poses import pose_of, turned
from tests.lab.face.pixels import changed_part, mouth_box, mouth_opening_px
from tests.lab.face.read_stamp import read_stamp

# These do nothing alone: lips close only as far as the jaw has opened them.
_BASE = {"mouthClose": {"jawOpen": 0.6}}


def _drawn(renderer: Renderer, pose: Pose) -> Picture:
    renderer.draw(pose)
    return renderer.read()


def _eye_white(picture: Picture, *, left: bool) -> int:
    half = picture.shape[1] // 2
    side = picture[150:280, half:] if left else picture[150:280, :half]
    return int((np.abs(side.astype(int) - WHITE).max(2) < 12).sum())


@pytest.mark.parametrize("name", ARKIT_NAMES)
def test_every_shape_shows(flat: Renderer, name: str) -> None:
    """Each of the 52 alone changes the picture."""
    base = _BASE.get(name, {})
    before, after = _drawn(flat, pose_of(**base)), _drawn(flat, pose_of(**base, **{name: 1.0}))
    assert changed_part(before, after, 16) > 2e-5


def test_lips_are_shut_at_rest(flat: Renderer) -> None:
    """At rest there is a mouth, but no gap."""
    picture = _drawn(flat, neutral_pose())
    assert mouth_opening_px(picture) == 0
    box = mouth_box(picture)
    assert box is not None
    assert 60 < box.width < 120


def test_the_mouth_opens_with_the_jaw(flat: Renderer) -> None:
    """Pixels follow the computed gap of the lips, and never decrease."""
    steps = np.linspace(0.15, 1, 8)
    seen = [mouth_opening_px(_drawn(flat, pose_of(jawOpen=step))) for step in steps]
    drawn = [lips_of(weights_of(pose_of(jawOpen=step))).opening for step in steps]
    assert all(later > earlier for earlier, later in pairwise(seen))
    assert np.corrcoef(seen, drawn)[0, 1] > 0.99
    assert np.abs(np.subtract(seen, drawn)).max() < 6


def test_mouth_close_shuts_an_open_jaw(flat: Renderer) -> None:
    """A bilabial: the jaw is open, the lips touch."""
    assert mouth_opening_px(_drawn(flat, pose_of(jawOpen=0.5))) > 20
    assert mouth_opening_px(_drawn(flat, pose_of(jawOpen=0.5, mouthClose=0.5))) == 0


def test_width_tells_pucker_from_smile(flat: Renderer) -> None:
    """Pucker is narrower and smile wider than at rest, in pixels."""
    boxes = [mouth_box(_drawn(flat, pose)) for pose in (pose_of(mouthPucker=1), neutral_pose(), pose_of(mouthSmile=1))]
    widths = [box.width for box in boxes if box is not None]
    assert len(widths) == 3
    assert widths[0] < 0.75 * widths[1]
    assert widths[1] < 0.95 * widths[2]


def test_eyelids_close(flat: Renderer) -> None:
    """A blink hides the white; one eye alone too, on its own side: the face's left is the picture's right."""
    rest = _drawn(flat, neutral_pose())
    assert min(_eye_white(rest, left=True), _eye_white(rest, left=False)) > 100
    blink = _drawn(flat, pose_of(eyeBlink=1))
    assert _eye_white(blink, left=True) + _eye_white(blink, left=False) == 0
    wink = _drawn(flat, pose_of(eyeBlinkLeft=1))
    assert _eye_white(wink, left=True) == 0
    assert _eye_white(wink, left=False) > 100


def test_the_head_turns_and_comes_back(flat: Renderer) -> None:
    """Turned, the picture differs; back at rest it is the same to the pixel, with no stale parts."""
    rest = _drawn(flat, neutral_pose())
    for head in ((0.2, 0, 0), (0, -0.3, 0), (0, 0, 0.2)):
        assert changed_part(rest, _drawn(flat, turned(head=head))) > 0.02
        assert changed_part(rest, _drawn(flat, turned(neck=head))) > 0.02
    assert (_drawn(flat, neutral_pose()) == rest).all()


def test_gaze_moves_the_iris(flat: Renderer) -> None:
    """The iris follows both the weights and the eyeballs' own rotation."""
    rest = _drawn(flat, neutral_pose())
    assert changed_part(rest, _drawn(flat, pose_of(eyeLookUp=0.8))) > 5e-4
    pose = neutral_pose()
    pose[LEFT_EYE_ROTATION] = pose[RIGHT_EYE_ROTATION] = (0, 0.3, 0)
    assert changed_part(rest, _drawn(flat, pose)) > 5e-4


def test_the_stamp_is_readable(flat: Renderer) -> None:
    """The stamp is readable in every picture that carries one."""
    for stamp in (0, 1, 123_456_789, 2**32 - 1):
        flat.draw(pose_of(jawOpen=0.3), stamp=stamp)
        flat.show()
        assert read_stamp(flat.read()) == stamp


@given(st.lists(st.floats(-2, 3, width=32), min_size=52, max_size=52))
def test_lips_never_cross(weights: list[float]) -> None:
    """For any weights: upper above lower, outlines finite, corners left and right."""
    pose = neutral_pose()
    pose[BLENDSHAPES] = weights
    lips = lips_of(weights_of(pose))
    assert lips.opening >= 0
    assert (lips.lower_inner[:, 1] >= lips.upper_inner[:, 1]).all()
    assert lips.upper_inner[0, 0] < lips.upper_inner[-1, 0]
    assert all(np.isfinite(shape.outline).all() for shape in mouth_shapes(weights_of(pose)))


@given(st.lists(st.floats(-10, 10, width=32), min_size=64, max_size=64))
@settings(max_examples=15, deadline=None)
def test_any_pose_can_be_drawn(flat: Renderer, values: list[float]) -> None:
    """Finite but extreme values draw something, and the size is unchanged."""
    assert _drawn(flat, np.array(values, np.float32)).shape == (480, 800, 3)
