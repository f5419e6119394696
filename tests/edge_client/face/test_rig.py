"""The rig: linear in general, corrected for colliding shapes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.cast import CAST, head_file
from edge_client.face.gaze import SIDEWAYS_RAD
from edge_client.face.head import Head, load_head
from edge_client.face.rig import PERSON_AWAY, WEIGHT_LIMIT, Rig, about, corrected, held, rotation
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, neutral_pose
from tests.edge_client.face.poses import pose_of, turned

# These take part in no correction and so add up plainly.
_FREE = [name for name in ARKIT_NAMES if name.startswith(("brow", "cheek", "nose", "jaw", "mouthUpper", "mouthLower", "mouthDimple"))]


@pytest.fixture(scope="module", params=CAST)
def head(request: pytest.FixtureRequest) -> Head:
    """Each built-in head: nothing is drawn here."""
    return load_head(head_file(request.param))


@pytest.fixture(scope="module")
def rig(head: Head) -> Rig:
    """A rig of that head."""
    return Rig(head)


def test_a_neutral_pose_is_the_head_at_rest(rig: Rig, head: Head) -> None:
    """No weight, no movement, no rotation; the eyes meet the viewer's."""
    assert np.allclose(rig.vertices(neutral_pose())[:, :3], head.points[: head.moving])
    assert np.allclose(rig.turn(neutral_pose()), np.eye(4))
    ahead = rig.eyes(neutral_pose()) @ np.array((0, 0, 1), np.float32)
    assert np.allclose(head.eye_centres + ahead * PERSON_AWAY, (0, 0, PERSON_AWAY), atol=0.02)


@given(st.dictionaries(st.sampled_from(_FREE), st.floats(0, 1, width=32), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_shapes_add_up(rig: Rig, head: Head, weights: dict[str, float]) -> None:
    """The matrix product is the rest plus the sum of weighted deltas."""
    expected = np.concatenate([head.points, head.normals], axis=1)[: head.moving].astype(np.float64)
    deltas = head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)
    for name, weight in weights.items():
        expected = expected + weight * deltas[ARKIT_INDEX[name]]
    assert np.allclose(rig.vertices(pose_of(**weights)), expected, atol=1e-4)


@given(st.lists(st.floats(-3, 3, width=32), min_size=52, max_size=52))
def test_corrected_weights_stay_within_limits(weights: list[float]) -> None:
    """For any input the output is 0 to the limit, and the pose itself is not modified."""
    pose = neutral_pose()
    pose[BLENDSHAPES] = weights
    before = pose.copy()
    settled = corrected(pose)
    assert ((settled >= 0) & (settled <= WEIGHT_LIMIT)).all()
    assert (pose == before).all()


def test_lips_close_no_further_than_the_jaw_opened(rig: Rig) -> None:
    """`mouthClose` shuts the mouth of an open jaw, and has no effect on a shut one."""
    opened, shut = rig.lip_gap(pose_of(jawOpen=0.6)), rig.lip_gap(pose_of(jawOpen=0.6, mouthClose=0.6))
    assert opened > 0.15
    assert abs(shut) < 0.25 * opened
    assert rig.lip_gap(pose_of(mouthClose=1)) == pytest.approx(rig.lip_gap(neutral_pose()))


def test_a_shut_lid_sinks_no_further(rig: Rig) -> None:
    """Blink with a look down is the blink alone: lids do not cross."""
    blink = rig.vertices(pose_of(eyeBlink=1)).copy()
    both = rig.vertices(pose_of(eyeBlink=1, eyeLookDown=1))
    assert np.abs(both - blink).max() < 1e-6


def test_a_pucker_takes_from_a_smile(rig: Rig) -> None:
    """Corners that are pulled both ways stay between the two."""

    def width(**weights: float) -> float:
        lips = rig.vertices(pose_of(**weights))
        return float(lips[_corners[0], 0] - lips[_corners[1], 0])

    rest = rig.vertices(neutral_pose())[:, :3]
    near = (np.abs(rest[:, 1] + 0.62) < 0.03) & (rest[:, 2] > 0.17) & (np.abs(rest[:, 0]) < 0.24)
    places = np.flatnonzero(near)
    _corners = (places[np.argmax(rest[places, 0])], places[np.argmin(rest[places, 0])])
    assert width(mouthPucker=1) < width(mouthPucker=1, mouthSmile=1) < width(mouthSmile=1)


def test_lip_gap_grows_with_the_jaw(rig: Rig) -> None:
    """The opening is monotonic in `jawOpen`, and the lips touch at rest."""
    gaps = [rig.lip_gap(pose_of(jawOpen=step / 10)) for step in range(11)]
    assert abs(gaps[0]) < 0.02
    assert all(later > earlier for earlier, later in pairwise(gaps))


@given(st.tuples(*[st.floats(-1.5, 1.5, width=32)] * 3))
def test_rotations_are_rotations(turn: tuple[float, float, float]) -> None:
    """Axis-angle yields an orthogonal matrix of determinant 1 whose trace determines the angle."""
    vector = np.array(turn, np.float32)
    matrix = rotation(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-4)
    assert (np.trace(matrix) - 1) / 2 == pytest.approx(np.cos(np.linalg.norm(vector)), abs=1e-4)


def test_a_turn_leaves_its_pivot(rig: Rig, head: Head) -> None:
    """The head turns about its joint; positive yaw moves the nose to the face's left, positive pitch down."""
    pivot = np.append(head.head_pivot, 1)
    matrix = about(rotation(np.array((0.3, 0.2, -0.1), np.float32)), head.head_pivot)
    assert np.allclose(matrix @ pivot, pivot, atol=1e-5)
    nose = np.array((0, -0.3, 0.5, 1), np.float32)
    assert (rig.turn(turned(head=(0, 0.3, 0))) @ nose)[0] > 0.1
    assert (rig.turn(turned(head=(0.3, 0, 0))) @ nose)[1] < nose[1] - 0.1
    assert (rig.turn(turned(neck=(0.3, 0, 0))) @ nose)[1] < nose[1] - 0.1


def test_eyes_follow_weights_and_rotations(rig: Rig) -> None:
    """Out is to each eye's own side; the eyeball rotations add to the weights."""
    ahead = np.array((0, 0, 1), np.float32)
    left, right = rig.eyes(pose_of(eyeLookOutLeft=1, eyeLookOutRight=1)) @ ahead
    assert left[0] > 0.3
    assert right[0] < -0.3
    pose = pose_of(eyeLookDown=1)
    pose[LEFT_EYE_ROTATION] = pose[RIGHT_EYE_ROTATION] = (-1.0, 0, 0)
    assert (rig.eyes(pose) @ ahead)[:, 1].min() > 0.3


def test_eyes_that_meet_already_turn_no_further_inward(rig: Rig) -> None:
    """Motion with converging eyes keeps its own angle; motion with diverging eyes is not turned round."""
    ahead = np.array((0, 0, 1), np.float32)
    crossed = rig.eyes(pose_of(eyeLookIn=0.5)) @ ahead
    assert np.arcsin(crossed[:, 0]) == pytest.approx([-0.5 * SIDEWAYS_RAD, 0.5 * SIDEWAYS_RAD], abs=1e-4)
    parted = rig.eyes(pose_of(eyeLookOut=0.5)) @ ahead
    assert parted[0, 0] > 0.2
    assert parted[1, 0] < -0.2


@given(st.lists(st.floats(-100, 100, width=32), min_size=64, max_size=64))
@settings(max_examples=15, deadline=None)
def test_wild_poses_keep_the_face_in_sight(rig: Rig, values: list[float]) -> None:
    """For any motion: finite vertices, the nose and the pupils to the front."""
    pose = np.array(values, np.float32)
    assert np.isfinite(rig.vertices(pose)).all()
    ahead = np.array((0, 0, 1), np.float32)
    assert (rig.eyes(pose) @ ahead)[:, 2].min() > 0.5
    assert rotation(held(pose[HEAD_ROTATION]))[2, 2] > 0.6
