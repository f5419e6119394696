"""Visemes as displayed: lips shut or apart, wide or round, measured on pictures of both faces against a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.cast import head_file
from edge_client.face.head import Head
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.rig import corrected
from edge_client.face.screens import open_face
from edge_client.motion.pose import Pose, neutral_pose
from tests.edge_client.face.conftest import HEADS
from tests.edge_client.face.poses import pose_of
from tests.lab.face.pixels import changed_part, mouth_box, mouth_opening_px
from tests.lab.face.viseme_poses import VISEMES, viseme_pose

# Opening in a picture 480 pixels high, and width relative to the mouth at rest: minimum, maximum.
TABLE: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "p": ((0, 0), (0.9, 1.15)),
    "f": ((0, 5), (0.9, 1.1)),
    "θ": ((6, 18), (0.9, 1.1)),
    "t": ((4, 12), (0.9, 1.1)),
    "s": ((4, 12), (0.95, 1.2)),
    "ʃ": ((6, 18), (0.6, 0.95)),
    "w": ((0, 6), (0.5, 0.9)),
    "i": ((9, 22), (1.05, 1.25)),
    "ɛ": ((22, 42), (0.9, 1.1)),
    "a": ((32, 55), (0.85, 1.05)),
}

THIN_LIPS_PX = {"henrik": 4.0}
"""By how many pixels less than in the table a head's lips part: they hide more of a narrow opening, and visibly touch in a `t`."""

COLLIDING = (
    ("jawOpen", "mouthClose"),
    ("eyeBlinkLeft", "eyeLookDownLeft"),
    ("eyeBlinkRight", "eyeWideRight"),
    ("mouthSmileLeft", "mouthPucker"),
    ("mouthStretchRight", "mouthFunnel"),
    ("mouthPucker", "mouthFunnel"),
    ("jawLeft", "jawRight"),
    ("mouthRollLower", "mouthLowerDownLeft"),
    ("mouthPressLeft", "jawOpen"),
    ("browDownLeft", "browOuterUpLeft"),
    ("cheekPuff", "mouthPucker"),
    ("tongueOut", "mouthClose"),
)


@pytest.fixture(params=["flat", *HEADS], scope="module")
def face(request: pytest.FixtureRequest) -> Iterator[Renderer]:
    """Each face, off-screen; one at a time."""
    name = str(request.param)
    options: dict[str, Any] = {"choice": "flat"} if name == "flat" else {"choice": "gles", "head_file": head_file(name)}
    renderer = open_face(size=(800, 480), fullscreen=False, headless=True, **options).renderer
    yield renderer
    renderer.close()


@pytest.fixture
def short_px(request: pytest.FixtureRequest, face: Renderer) -> float:
    """By how much less than in the table the lips of the face may part."""
    return THIN_LIPS_PX.get(request.node.callspec.params["face"], 0.0)


Known = Callable[[str], Picture]


@pytest.fixture(scope="module")
def known(face: Renderer) -> Known:
    """The picture of a shape at full weight, or of rest (""); each is drawn once."""
    return cache(lambda shape: drawn(face, pose_of(**{shape: 1.0}) if shape else neutral_pose()))


@pytest.fixture(scope="module")
def visemes(face: Renderer) -> dict[str, Picture]:
    """The picture of each viseme."""
    return {ipa: drawn(face, viseme_pose(ipa)) for ipa in VISEMES}


def drawn(renderer: Renderer, pose: Pose) -> Picture:
    """A picture of a pose."""
    renderer.draw(pose)
    return renderer.read()


def width(picture: Picture) -> float:
    """The width of the mouth in pixels."""
    box = mouth_box(picture)
    assert box is not None
    return float(box.width)


def test_the_table_is_whole() -> None:
    """The table has a line for each viseme."""
    assert tuple(TABLE) == VISEMES


@pytest.mark.parametrize("ipa", VISEMES)
def test_a_viseme_looks_as_the_table_says(known: Known, visemes: dict[str, Picture], ipa: str, short_px: float) -> None:
    """Closure, opening and width of the mouth match the table."""
    rest, picture = width(known("")), visemes[ipa]
    (least, most), (narrow, wide) = TABLE[ipa]
    assert least - short_px <= mouth_opening_px(picture) <= most
    assert narrow <= width(picture) / rest <= wide


def test_visemes_are_told_apart(visemes: dict[str, Picture]) -> None:
    """No two of the ten look alike."""
    alike = [(one, other) for one, other in combinations(VISEMES, 2) if changed_part(visemes[one], visemes[other], 16) < 3e-4]
    assert alike == []


@pytest.mark.parametrize(("one", "other"), COLLIDING, ids="+".join)
def test_a_colliding_pair_stays_a_face(face: Renderer, known: Known, one: str, other: str) -> None:
    """Both at once, fully: no more of the picture changes than by each alone, the mouth keeps its place, and nothing is torn."""
    rest = known("")
    alone = [changed_part(rest, known(name)) for name in (one, other)]
    both = drawn(face, pose_of(**{one: 1.0, other: 1.0}))
    assert changed_part(rest, both) <= 1.25 * sum(alone) + 5e-3
    box, at_rest = mouth_box(both), mouth_box(rest)
    assert box is not None and at_rest is not None
    assert abs((box.left + box.right) - (at_rest.left + at_rest.right)) < 50
    assert 0.45 < box.width / at_rest.width < 1.4


def test_what_each_pair_settles_to(face: Renderer) -> None:
    """Lips pressed together over an open jaw, a lid that is shut for any gaze, a pucker that overrides a smile."""
    assert mouth_opening_px(drawn(face, pose_of(jawOpen=1.0, mouthClose=1.0))) <= 6
    shut, down = drawn(face, pose_of(eyeBlink=1.0)), drawn(face, pose_of(eyeBlink=1.0, eyeLookDown=1.0))
    assert changed_part(shut, down) < 2e-3
    smile, pucker = (width(drawn(face, pose_of(**{name: 1.0}))) for name in ("mouthSmile", "mouthPucker"))
    assert width(drawn(face, pose_of(mouthSmile=1.0, mouthPucker=1.0))) < (smile + pucker) / 2


def test_all_pairs_keep_the_mesh_whole(head: Head) -> None:
    """All 1,326 pairs at full weight: corrections increase neither shape and move nothing else, and the lips do not cross."""
    moves = head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)[:, :, :3]
    upper, lower = head.lips
    gap_at_rest = head.points[upper, 1] - head.points[lower, 1]
    gaps = moves[:, upper, 1] - moves[:, lower, 1]
    for one, other in combinations(range(len(ARKIT_NAMES)), 2):
        names = (ARKIT_NAMES[one], ARKIT_NAMES[other])
        weight = corrected(pose_of(**{name: 1.0 for name in names}))
        assert ((weight >= 0) & (weight <= 1)).all(), names
        assert set(np.flatnonzero(weight)) <= {one, other}, names
        assert gap_at_rest + float(weight @ gaps) > -0.12, names
