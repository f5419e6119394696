"""FLAME keyframes to poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import avatarkit
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.avatarkit import EXPRESSION, EYE_LID, EYE_POSE, JAW_POSE, KEYFRAME_SIZE, NECK_POSE, ROTATION, AvatarKitMotion, Keyframes
from edge_client.errors import AssetError, UndecodableError
from edge_client.motion.avatarkit import EXPRESSION_SIZE, JAW_OPEN_RAD, AvatarKitDecoder, FlameMap, default_flame_map, load_flame_map
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, LEFT_EYE_ROTATION, NECK_ROTATION, POSE_SIZE, RIGHT_EYE_ROTATION, Poses
from tests.lab.recordings import keyframes, motion_messages

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
NO_MAP = FlameMap(np.zeros((EXPRESSION_SIZE, 0), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))
JAW_OPEN = ARKIT_INDEX["jawOpen"]


def decoded(rows: Keyframes, flame_map: FlameMap = NO_MAP) -> Poses:
    """Poses of keyframes."""
    return AvatarKitDecoder(flame_map).decode(avatarkit.write(AvatarKitMotion("", "", False, "", rows)))


def keyframe(columns: slice, values: tuple[float, ...]) -> Keyframes:
    """One keyframe with one field."""
    row = np.zeros((1, KEYFRAME_SIZE), np.float32)
    row[0, columns] = values
    return row


@pytest.mark.parametrize(
    ("field", "pose"),
    [
        (ROTATION, HEAD_ROTATION),
        (NECK_POSE, NECK_ROTATION),
        (slice(EYE_POSE.start, EYE_POSE.start + 3), LEFT_EYE_ROTATION),
        (slice(EYE_POSE.start + 3, EYE_POSE.stop), RIGHT_EYE_ROTATION),
    ],
)
def test_rotations_are_taken_exactly(field: slice, pose: slice) -> None:
    """The axes are the same on both sides."""
    poses = decoded(keyframe(field, (0.1, -0.2, 0.3)))
    np.testing.assert_array_equal(poses[0, pose], np.array([0.1, -0.2, 0.3], np.float32))
    assert np.count_nonzero(poses) == 3


def test_jaw_turns_by_the_same_angle() -> None:
    """`jawOpen` 1 turns the head's jaw by 0.443 rad."""
    poses = decoded(keyframe(JAW_POSE, (JAW_OPEN_RAD / 2, 0.0, 0.0)))
    assert poses[0, JAW_OPEN] == pytest.approx(0.5)


@pytest.mark.parametrize(("angle", "left", "right"), [(0.1, 0.5, 0.0), (-0.1, 0.0, 0.5)])
def test_jaw_to_the_sides(angle: float, left: float, right: float) -> None:
    """A rotation about the vertical axis moves the chin to the face's left."""
    poses = decoded(keyframe(JAW_POSE, (0.0, angle, 0.0)))
    assert poses[0, ARKIT_INDEX["jawLeft"]] == pytest.approx(left)
    assert poses[0, ARKIT_INDEX["jawRight"]] == pytest.approx(right)


def test_eyelids() -> None:
    """The first eyelid is the left one."""
    poses = decoded(keyframe(EYE_LID, (0.25, 0.75)))
    assert (poses[0, ARKIT_INDEX["eyeBlinkLeft"]], poses[0, ARKIT_INDEX["eyeBlinkRight"]]) == (0.25, 0.75)


def test_expression_goes_through_the_map() -> None:
    """Coefficient 3 opens the jaw by half of itself, less an offset that the jaw's own angle compensates."""
    matrix = np.zeros((EXPRESSION_SIZE, 1), np.float32)
    matrix[3] = 0.5
    flame_map = FlameMap(matrix, np.array([-0.2], np.float32), np.array([JAW_OPEN]))
    row = keyframe(slice(EXPRESSION.start + 3, EXPRESSION.start + 4), (1.0,))
    assert decoded(row, flame_map)[0, JAW_OPEN] == pytest.approx(0.3)
    row[0, JAW_POSE.start] = 0.1 * JAW_OPEN_RAD
    assert decoded(row, flame_map)[0, JAW_OPEN] == pytest.approx(0.4)


def test_default_map_moves_the_mouth() -> None:
    """Motion with moving coefficients moves the jaw; all weights stay between 0 and 1."""
    poses = AvatarKitDecoder(default_flame_map()).decode(motion_messages((100,))[0])
    assert poses.shape == (100, POSE_SIZE)
    assert poses[:, BLENDSHAPES].min() >= 0.0
    assert poses[:, BLENDSHAPES].max() <= 1.0
    assert poses[:, JAW_OPEN].std() > 0.01


@given(FINITE, FINITE)
def test_huge_numbers_stay_finite(first: float, second: float) -> None:
    """Finite keyframes give finite poses, however large they are."""
    rows = np.full((2, KEYFRAME_SIZE), first, np.float32)
    rows[1, ::2] = second
    poses = decoded(rows, default_flame_map())
    assert np.isfinite(poses).all()
    assert (poses[:, BLENDSHAPES] >= 0).all()
    assert (poses[:, BLENDSHAPES] <= 1).all()


@pytest.mark.parametrize("data", [b"", b"garbage", motion_messages((2,))[0][:-3]])
def test_undecodable_messages(data: bytes) -> None:
    """Undecodable bytes are the peer's fault, and the error says so."""
    with pytest.raises(UndecodableError, match="motion payload"):
        AvatarKitDecoder(NO_MAP).decode(data)


def write_map(path: Path, **arrays: object) -> Path:
    """A map file of these arrays."""
    matrix = np.asarray(arrays.get("matrix", np.zeros((EXPRESSION_SIZE, 1), np.float32)))
    offset = np.asarray(arrays.get("offset", np.zeros(1, np.float32)))
    np.savez(path, matrix=matrix, offset=offset, names=np.asarray(arrays.get("names", np.array(["jawOpen"]))))
    return path


def test_map_is_read(tmp_path: Path) -> None:
    """A file as written by the script."""
    assert load_flame_map(write_map(tmp_path / "map.npz")).targets.tolist() == [JAW_OPEN]


@pytest.mark.parametrize(
    "arrays",
    [
        {"matrix": np.zeros((EXPRESSION_SIZE, 2))},
        {"offset": np.zeros(3)},
        {"names": np.array(["hairWave"])},
        {"matrix": np.full((EXPRESSION_SIZE, 1), np.nan)},
        {"names": np.array([{"an": "object"}])},
    ],
)
def test_damaged_maps(tmp_path: Path, arrays: dict[str, object]) -> None:
    """A map of the wrong shape is refused, and no code in it is executed."""
    with pytest.raises(AssetError, match=r"map\.npz is not a FLAME map"):
        load_flame_map(write_map(tmp_path / "map.npz", **arrays))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not a zip"])
def test_files_that_are_no_maps(tmp_path: Path, data: bytes) -> None:
    """A file that is not a map is refused: the setting may name any file."""
    path = tmp_path / "map.npz"
    path.write_bytes(data)
    with pytest.raises(AssetError):
        load_flame_map(path)


def test_map_that_unpacks_to_too_much(tmp_path: Path) -> None:
    """A map that unpacks to too much is refused: zeros compress well."""
    path = tmp_path / "map.npz"
    np.savez_compressed(path, matrix=np.zeros((EXPRESSION_SIZE, 50_000)))
    with pytest.raises(AssetError, match="unpacks to more than"):
        load_flame_map(path)


def test_missing_map(tmp_path: Path) -> None:
    """A missing map is an error: the setting may name a missing file."""
    with pytest.raises(AssetError):
        load_flame_map(tmp_path / "none.npz")


def test_keyframes_are_decoded_in_order() -> None:
    """Keyframes are decoded in order, one pose for each."""
    rows = keyframes(9)
    np.testing.assert_array_equal(decoded(rows)[:, NECK_ROTATION], rows[:, NECK_POSE])
