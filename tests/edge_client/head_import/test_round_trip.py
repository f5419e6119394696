"""The built-in head, exported as a model and imported again, is the same head: in the mesh and on pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.face.camera import Camera
from edge_client.face.detail import HeadLook
from edge_client.face.gles import GlesRenderer
from edge_client.face.head import Head, load_head
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.rig import Rig
from edge_client.face.window import start_sdl
from edge_client.motion.pose import LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose, neutral_pose
from tests.edge_client.face.poses import pose_of, turned
from tests.lab.face.pixels import changed_part, mouth_opening_px
from tests.lab.face.viseme_poses import VISEMES, viseme_pose

SIZE = (800, 480)


@pytest.fixture(scope="module")
def head(head_file: Path) -> Head:
    """The imported head."""
    return load_head(head_file)


POSES = (neutral_pose(), viseme_pose("a"), pose_of(eyeBlink=1), turned(head=(0, 0.3, 0)))


@pytest.fixture(scope="module")
def built_in_pictures() -> list[Picture]:
    """The built-in head in these poses."""
    renderer = _opened(None)
    pictures = [_picture(renderer, pose) for pose in POSES]
    renderer.close()
    return pictures


@pytest.fixture(scope="module")
def drawn(built_in_pictures: list[Picture], head_file: Path) -> Iterator[Renderer]:
    """The imported head off-screen, after the built-in one: a process has only one display."""
    renderer = _opened(head_file)
    yield renderer
    renderer.close()


def _opened(head_file: Path | None) -> Renderer:
    start_sdl("offscreen", {})
    return GlesRenderer(SIZE, 0, "off-screen", head_file=head_file, look=HeadLook(hair="painted"))


def _picture(renderer: Renderer, pose: Pose) -> Picture:
    renderer.draw(pose)
    return renderer.read()


def _nearest(head: Head, points: np.ndarray) -> np.ndarray:
    """The vertices of a head nearest to these points."""
    return np.array([int(np.argmin(((head.points - point) ** 2).sum(1))) for point in points])


def test_the_command_leaves_a_head_a_report_and_pictures(head_file: Path) -> None:
    """All shapes were found without substitutes, and bones of head, neck and eyes; twelve pictures show a face."""
    assert sorted(path.name for path in head_file.parent.iterdir()) == ["avatar.glb", "mine.head", "mine.jpg", "mine.txt"]
    text = head_file.with_suffix(".txt").read_text(encoding="utf-8")
    for line in (
        "shapes found: 52 of 52",
        "stand-ins: 0",
        "missing, without effect: 0",
        "not used of the file: 0",
        "bones: head, leftEye, neck, rightEye",
        "faces the viewer",
    ):
        assert line in text
    with Image.open(head_file.with_suffix(".jpg")) as sheet:
        tile = np.asarray(sheet)[:360, :330].astype(int)
    assert (tile[..., 0] > tile[..., 2] + 40).mean() > 0.2


def test_the_mesh_is_the_same(head: Head, built_in: Head) -> None:
    """Positions at rest and the effect of each shape, vertex by vertex; also the pivots and the eyes."""
    sample = np.arange(0, built_in.moving, 7)
    same = _nearest(head, built_in.points[sample])
    assert np.abs(head.points[same] - built_in.points[sample]).max() < 0.01
    ours, theirs = (one.deltas.reshape(len(ARKIT_NAMES), one.moving, 6)[..., :3] for one in (built_in, head))
    inside = same < head.moving
    assert np.abs(ours[:, sample[inside]] - theirs[:, same[inside]]).max() < 0.01
    assert np.allclose(head.eye_centres, built_in.eye_centres, atol=0.01)
    assert np.allclose(head.head_pivot, built_in.head_pivot, atol=0.01)
    assert np.allclose(head.neck_pivot, built_in.neck_pivot, atol=0.01)


def test_lips_open_with_the_jaw_and_close_for_bilabials(head: Head, built_in: Head) -> None:
    """The opening of the mouth follows the built-in head's over ten visemes."""
    rigs = Rig(head), Rig(built_in)
    gaps = np.array([[rig.lip_gap(viseme_pose(ipa)) for ipa in VISEMES] for rig in rigs])
    assert np.corrcoef(gaps)[0, 1] > 0.98
    assert abs(rigs[0].lip_gap(pose_of(jawOpen=0.5, mouthClose=0.5)) - rigs[0].lip_gap(neutral_pose())) < 0.02


def test_its_pictures_are_nearly_the_built_in_heads(drawn: Renderer, built_in_pictures: list[Picture]) -> None:
    """At rest, speaking, blinking, turned: few pixels differ much."""
    for pose, ours in zip(POSES, built_in_pictures, strict=True):
        assert changed_part(ours, _picture(drawn, pose), 40) < 0.01


def test_the_mouth_on_pictures_follows_the_mesh(drawn: Renderer, head: Head) -> None:
    """The measured opening is the gap predicted by the rig; lips are sealed at rest and for an open jaw that is closed."""
    rig = Rig(head)
    poses = [pose_of(jawOpen=jaw) for jaw in np.linspace(0.2, 1, 5)]
    seen = [mouth_opening_px(_picture(drawn, pose)) for pose in poses]
    predicted = []
    for pose in poses:
        upper, lower = Camera(*SIZE).pixels(rig.vertices(pose)[list(head.lips), :3])
        predicted.append(float(lower[1] - upper[1]))
    assert np.corrcoef(seen, predicted)[0, 1] > 0.99
    assert mouth_opening_px(_picture(drawn, neutral_pose())) < 3
    assert mouth_opening_px(_picture(drawn, pose_of(jawOpen=0.5, mouthClose=0.5))) < 5


def test_lids_and_gaze_on_pictures(drawn: Renderer, head: Head) -> None:
    """A blink hides both white and iris; a look to the face's left moves the iris to the picture's right."""
    x, y = Camera(*SIZE).pixels(head.eye_centres[:1])[0]

    def eye(pose: Pose) -> np.ndarray:
        return _picture(drawn, pose)[int(y) - 9 : int(y) + 9, int(x) - 16 : int(x) + 16].astype(int)

    def iris_x(yaw: float) -> float:
        pose = neutral_pose()
        pose[LEFT_EYE_ROTATION] = pose[RIGHT_EYE_ROTATION] = (0, yaw, 0)
        found = eye(pose)
        return float(np.nonzero((found[..., 2] > found[..., 0] + 5) & (found.sum(2) < 560))[1].mean())

    opened, shut = eye(neutral_pose()), eye(pose_of(eyeBlink=1))
    assert (opened[..., 2] > opened[..., 0]).mean() > 0.08
    assert (shut[..., 2] > shut[..., 0]).mean() < 0.01
    assert iris_x(-0.3) + 2 < iris_x(0.0) < iris_x(0.3) - 2
