"""Skin: creases and the open mouth by weights, and their shading in pictures."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.face.camera import Camera
from edge_client.face.detail import HeadLook
from edge_client.face.gl.skin import creases, opening, pores_picture
from edge_client.face.gles import GlesRenderer
from edge_client.face.renderer import Picture
from edge_client.face.window import start_sdl
from edge_client.motion.pose import Pose, neutral_pose
from tests.edge_client.face.poses import pose_of, turned

_SIZE = (480, 480)


def test_creases_and_the_opening_follow_the_weights() -> None:
    """None at rest; each by its own weights, within 0 and 1; a mouth that is closed again admits no light."""
    assert not creases(neutral_pose()).any()
    assert creases(pose_of(browInnerUp=0.5)).tolist() == pytest.approx([0.5, 0, 0])
    assert creases(pose_of(browDown=3.0, mouthSmile=0.4)).tolist() == pytest.approx([0, 1, 0.4])
    assert opening(pose_of(jawOpen=1)) == 1.0
    assert opening(pose_of(jawOpen=0.5, mouthClose=0.5)) == opening(neutral_pose()) < 0.3


def test_pores_repeat_without_a_seam_and_lean_nowhere() -> None:
    """Opposite edges match, and the mean slope is zero."""
    pores = pores_picture().astype(float)
    inner = np.abs(np.diff(pores[..., 0], axis=0)).mean()
    assert np.abs(pores[0, :, 0] - pores[-1, :, 0]).mean() < 1.5 * inner
    assert np.abs(pores[..., :2].mean((0, 1)) - 127.5).max() < 1.0


def test_brows_crease_the_forehead_and_the_jaw_shades_the_neck() -> None:
    """With `high`: raised brows change the forehead in stripes. On both levels: the neck is darker under the jaw than without shadow."""
    raised = pose_of(browInnerUp=1, browOuterUp=1)
    rest, lined, up = _drawn([neutral_pose(), raised, turned(head=(-0.35, 0, 0))], HeadLook("high"))
    forehead = _patch(0.48, 0.14, 0.10)
    stripes = np.abs(np.diff(lined[forehead].astype(float).mean((1, 2)))).sum()
    assert stripes > 1.5 * np.abs(np.diff(rest[forehead].astype(float).mean((1, 2)))).sum()
    neck = _patch(-1.13, 0.12, 0.04)
    assert up[neck].mean() > 1.05 * rest[neck].mean()


def _drawn(poses: list[Pose], look: HeadLook) -> list[Picture]:
    start_sdl("offscreen", {})
    renderer = GlesRenderer(_SIZE, 0, "off-screen", look=look)
    pictures = []
    for pose in poses:
        renderer.draw(pose)
        pictures.append(renderer.read().copy())
    renderer.close()
    return pictures


def _patch(y: float, half_wide: float, half_high: float) -> tuple[slice, slice]:
    """A position on the face's middle line in pixels; head units."""
    corners = np.array([(-half_wide, y + half_high, 0.2), (half_wide, y - half_high, 0.2)], np.float32)
    (left, top), (right, bottom) = Camera(*_SIZE).pixels(corners).round().astype(int).tolist()
    return slice(top, bottom), slice(left, right)
