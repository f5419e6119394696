"""The drawn head, off-screen: pixels follow the mesh."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.cast import head_file
from edge_client.face.camera import Camera
from edge_client.face.detail import HeadLook
from edge_client.face.gl.binding import GL
from edge_client.face.gl.context import is_software
from edge_client.face.gl.eyes import lid_rims
from edge_client.face.gl.meshes import halved, halvings, near_first
from edge_client.face.gl.opening import SMOOTH_SAMPLES
from edge_client.face.gles import GlesRenderer
from edge_client.face.head import Head, Triangles
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.rig import Rig
from edge_client.face.screens import open_renderer
from edge_client.face.window import start_sdl
from edge_client.motion.pose import LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose, neutral_pose
from tests.edge_client.face.poses import pose_of, turned
from tests.lab.face.pixels import changed_part, mouth_box, mouth_opening_px
from tests.lab.face.read_stamp import read_stamp

_BASE = {"mouthClose": {"jawOpen": 0.6}, "tongueOut": {"jawOpen": 0.6}}


def _drawn(renderer: Renderer, pose: Pose) -> Picture:
    renderer.draw(pose)
    return renderer.read()


def _predicted_opening_px(head: Head, rig: Rig, size: tuple[int, int], pose: Pose) -> float:
    moved = rig.vertices(pose)[list(head.lips), :3]
    upper, lower = Camera(*size).pixels(moved)
    return float(lower[1] - upper[1])


def _eye_pixels(head: Head, picture: Picture) -> Picture:
    (x, y) = Camera(picture.shape[1], picture.shape[0]).pixels(head.eye_centres[:1])[0]
    return picture[int(y) - 9 : int(y) + 9, int(x) - 16 : int(x) + 16]


@pytest.fixture(scope="module")
def rest(gles: Renderer) -> Picture:
    """The picture of the neutral pose."""
    return _drawn(gles, neutral_pose())


@pytest.mark.parametrize("name", ARKIT_NAMES)
def test_every_shape_shows(gles: Renderer, rest: Picture, name: str) -> None:
    """Each of the 52 alone changes the picture."""
    base = _BASE.get(name, {})
    before, after = _drawn(gles, pose_of(**base)) if base else rest, _drawn(gles, pose_of(**base, **{name: 1.0}))
    assert changed_part(before, after, 8) > 1e-4


def test_lips_are_sealed_at_rest(gles: Renderer) -> None:
    """Lips are sealed at rest: no teeth or cavity between them, in pixels."""
    picture = _drawn(gles, neutral_pose())
    assert mouth_opening_px(picture) == 0
    box = mouth_box(picture)
    assert box is not None
    assert 60 < box.width < 120
    assert 20 < box.height < 60


def test_the_mouth_in_pixels_follows_the_mesh(gles: Renderer, head: Head) -> None:
    """The measured opening is the gap that the rig predicts for the same pose, projected by the camera."""
    rig = Rig(head)
    steps = np.linspace(0.2, 1, 7)
    poses = [pose_of(jawOpen=jaw, mouthSmile=smile, mouthPucker=pucker) for smile, pucker in ((0, 0), (0.5, 0), (0, 0.5)) for jaw in steps]
    seen = np.array([mouth_opening_px(_drawn(gles, pose)) for pose in poses])
    predicted = np.array([_predicted_opening_px(head, rig, gles.size, pose) for pose in poses])
    assert np.corrcoef(seen, predicted)[0, 1] > 0.99
    assert np.abs(seen - predicted).max() < 6
    assert (np.diff(seen.reshape(3, 7), axis=1) > 0).all()


def test_mouth_close_shuts_an_open_jaw(gles: Renderer) -> None:
    """A bilabial: the jaw is open, the lips touch."""
    assert mouth_opening_px(_drawn(gles, pose_of(jawOpen=0.5))) > 20
    assert mouth_opening_px(_drawn(gles, pose_of(jawOpen=0.5, mouthClose=0.5))) < 5


def test_eyelids_close(gles: Renderer, head: Head) -> None:
    """During a blink the whole eye region has the skin's colour: no white, no blue, no pupil."""
    opened = _eye_pixels(head, _drawn(gles, neutral_pose())).astype(int)
    shut = _eye_pixels(head, _drawn(gles, pose_of(eyeBlink=1))).astype(int)
    assert ((opened[..., 2] > opened[..., 0]).mean()) > 0.1
    assert ((shut[..., 2] > shut[..., 0]).mean()) < 0.01


def test_gaze_moves_the_iris_the_right_way(gles: Renderer, head: Head) -> None:
    """The face's left is the picture's right."""

    def iris_x(yaw: float) -> float:
        pose = neutral_pose()
        pose[LEFT_EYE_ROTATION] = pose[RIGHT_EYE_ROTATION] = (0, yaw, 0)
        eye = _eye_pixels(head, _drawn(gles, pose)).astype(int)
        blue = (eye[..., 2] > eye[..., 0] + 5) & (eye.sum(2) < 560)
        return float(np.nonzero(blue)[1].mean())

    assert iris_x(-0.3) + 3 < iris_x(0.0) < iris_x(0.3) - 3


def test_the_window_in_the_eyes_stays_where_the_light_is(gles: Renderer, head: Head) -> None:
    """The highlight is a reflection: it stays up and to the right of the pupil when the eyes look down or aside."""
    for yaw, pitch in ((0.0, 0.0), (0.12, 0.0), (-0.12, 0.0), (0.0, 0.12)):
        pose = neutral_pose()
        pose[LEFT_EYE_ROTATION] = pose[RIGHT_EYE_ROTATION] = (pitch, yaw, 0)
        eye = _eye_pixels(head, _drawn(gles, pose)).astype(int)
        rows, columns = np.nonzero(eye[:, 8:25].min(2) > 180)
        assert len(rows) > 2
        assert 8 <= columns.mean() < 15
        assert rows.mean() < 10


def test_the_head_turns_and_comes_back(gles: Renderer) -> None:
    """Turned, the picture differs; at rest again it is the same to the pixel. The shoulders do not move."""
    rest = _drawn(gles, neutral_pose())
    for head_turn in ((0.2, 0, 0), (0, -0.3, 0), (0, 0, 0.2)):
        moved = _drawn(gles, turned(head=head_turn))
        assert changed_part(rest, moved) > 0.03
        for shoulder in (np.s_[-10:, : rest.shape[1] // 3], np.s_[-10:, -rest.shape[1] // 3 :]):
            assert changed_part(rest[shoulder], moved[shoulder]) < 0.02
    assert (_drawn(gles, neutral_pose()) == rest).all()


@pytest.mark.parametrize(("texels", "rows"), [(2000, 1024), (1024, 1024), (725, 1024), (723, 512), (300, 256)])
def test_paint_of_one_size_is_the_one_that_levels_would_choose(texels: float, rows: int) -> None:
    """Halved until its ratio to the size shown is nearest to 1; its mean colour is unchanged."""
    paint = np.random.default_rng(1).integers(0, 256, (1024, 64, 3), np.uint8)
    small = halved(paint, halvings(len(paint), texels))
    assert small.shape == (rows, rows // 16, 3)
    assert abs(float(small.mean()) - float(paint.mean())) < 0.5


def test_triangles_are_ordered_from_front_to_back_and_share_vertices(head: Head) -> None:
    """The same triangles, the nearest first; groups of 341, which Mesa transforms at once, share most of their vertices."""

    def transformed(tris: Triangles) -> int:
        return sum(len(np.unique(tris[start : start + 341])) for start in range(0, len(tris), 341))

    ordered = near_first(head.points, head.triangles)
    assert (np.unique(ordered, axis=0) == np.unique(head.triangles, axis=0)).all()
    depth = head.points[ordered, 2].mean(1)
    assert depth[:300].min() > depth[-300:].max()
    assert transformed(ordered) < 0.6 * transformed(head.triangles)


def test_what_was_shown_can_be_read(gles: Renderer) -> None:
    """Reading after showing returns the same picture as reading before, stamp included."""
    gles.draw(pose_of(jawOpen=0.4), stamp=77)
    before = gles.read()
    gles.show()
    assert (gles.read() == before).all()
    assert read_stamp(before) == 77


def test_the_rig_is_quick() -> None:
    """One pose takes at most a millisecond of a processor, with numpy on one thread, as in the program."""
    program = (
        "import time, timeit, numpy\n"
        "from edge_client.face.head import load_head\n"
        "from edge_client.face.rig import Rig\n"
        "rig, pose = Rig(load_head()), numpy.full(64, 0.3, numpy.float32)\n"
        "print(min(timeit.repeat(lambda: rig.vertices(pose), number=20, repeat=10, timer=time.process_time)) / 20)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(answer.stdout) <= 0.001


@pytest.mark.parametrize("size", [(800, 480), (1280, 720), (480, 800), (300, 1200), (400, 1280), (600, 600)])
def test_every_shape_of_screen_shows_the_whole_head(head: Head, size: tuple[int, int]) -> None:
    """No part of the head is cut off, and the eyes are near the middle."""
    spots = Camera(*size).pixels(head.points[head.points[:, 1] > -1.0])
    assert 0.4 < Camera(*size).pixels(head.eye_centres)[0, 1] / size[1] < 0.5
    assert (spots >= 0).all()
    assert (spots < size).all()


@pytest.mark.parametrize("size", [(480, 270), (150, 600), (300, 300)])
def test_the_body_reaches_the_lower_edge(head_name: str, size: tuple[int, int]) -> None:
    """Of wide, tall and square screens."""
    start_sdl("offscreen", {})
    renderer = GlesRenderer(size, 0, "off-screen", head_file=head_file(head_name))
    lowest = _drawn(renderer, neutral_pose())[-1, size[0] // 2 - 20 : size[0] // 2 + 20].astype(int)
    renderer.close()
    assert (lowest.max(1) > 35).all()  # neck or shirt; the backdrop is 31 there at most


def test_software_takes_one_sample_for_each_pixel() -> None:
    """A CPU takes one sample for each pixel, unless smooth edges are requested: they would double the cost."""
    renderer = open_renderer(choice="gles", size=(400, 240), fullscreen=False, headless=True)
    found = int(GL.glGetIntegerv(GL.GL_SAMPLES)) if is_software() else 0
    renderer.close()
    assert found < 2


def test_edges_are_smooth_where_asked() -> None:
    """With several samples for each pixel the head's outline has colours between hair and background, also when read back."""

    def sharpest_step(samples: int) -> int:
        start_sdl("offscreen", {})
        renderer = GlesRenderer((400, 240), 0, "off-screen", samples=samples, look=HeadLook(hair="painted"))
        picture = _drawn(renderer, neutral_pose()).astype(int)
        renderer.close()
        edge = np.abs(np.diff(picture[15:60, 100:200], axis=1)).sum(2).max(1)
        return int(np.median(edge))

    assert sharpest_step(SMOOTH_SAMPLES) < 0.8 * sharpest_step(0)


def test_lids_are_found_and_followed(head: Head) -> None:
    """The eye's shader receives the positions of the lids' edges: apart at rest, both down with a look down, together in a blink."""
    rig = Rig(head)
    for rims in lid_rims(head):
        up, down = rims.heights(rig.vertices(neutral_pose()))
        assert 0.1 < up < 0.5  # men's upper lids are lower
        assert -0.5 < down < -0.2
        lower_up, _ = rims.heights(rig.vertices(pose_of(eyeLookDown=1)))
        assert lower_up < up - 0.1
        shut_up, shut_down = rims.heights(rig.vertices(pose_of(eyeBlink=1)))
        assert shut_up - shut_down < 0.1
    bare = replace(head, points=head.points + 10)
    assert lid_rims(bare)[0].heights(rig.vertices(neutral_pose())) == (0.33, -0.33)
