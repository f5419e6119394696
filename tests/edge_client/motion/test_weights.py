"""Rows of weights to poses."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from avatar_relay.media import AngleUnit, MotionEncoding, MotionFormat, NameSet
from avatar_relay.reasons import Reason
from edge_client.errors import NotUnderstoodError, UndecodableError
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, LEFT_EYE_ROTATION, POSE_SIZE, RIGHT_EYE_ROTATION
from edge_client.motion.weights import ROWS_TO_BE_SURE

JAW = ARKIT_INDEX["jawOpen"]


def decoder_of(*names: str, scale: float = 1.0, unit: AngleUnit = AngleUnit.RADIANS, name_set: NameSet | None = None) -> MotionDecoder:
    """As created by a device."""
    return make_motion_decoder(MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, names, name_set, scale, unit))


def test_names_in_any_order() -> None:
    """A column drives the blendshape that it is named after."""
    row = np.linspace(0, 1, 52, dtype=np.float32)
    poses = decoder_of(*reversed(ARKIT_NAMES)).decode(weights.write([row]))
    np.testing.assert_array_equal(poses[0, BLENDSHAPES], row[::-1])


def test_blendshapes_not_named_are_zero() -> None:
    """Only named blendshapes move."""
    poses = decoder_of("jawOpen").decode(weights.write([[0.4], [0.6]]))
    assert poses.shape == (2, POSE_SIZE)
    np.testing.assert_allclose(poses[:, JAW], [0.4, 0.6])
    assert np.count_nonzero(poses) == 2


def test_names_that_are_left_out_are_told_once() -> None:
    """An unknown name, or one that duplicates another column, moves nothing; the others do."""
    decoder = decoder_of("hairWave", "jawOpen", "JawOpen", "mouthPucker")
    poses = decoder.decode(weights.write([[1.0, 0.25, 0.75, 0.5]]))
    assert poses[0, JAW] == 0.25
    assert np.count_nonzero(poses) == 2
    fault = decoder.complaint()
    assert fault is not None
    assert fault.reason is Reason.MOTION_NOT_UNDERSTOOD
    assert "2 of 4 columns" in fault.text
    assert "'hairWave', 'JawOpen'" in fault.text
    assert decoder.complaint() is None


def test_names_that_nobody_knows_are_refused() -> None:
    """The device then uses the sound."""
    with pytest.raises(NotUnderstoodError, match="'hair', 'wind'"):
        decoder_of("hair", "wind", "jawOpen")


def test_halves_are_averaged_and_common_columns_move_both_sides() -> None:
    """`browInnerUp_L` and `_R` are one shape of ARKit, `eyesClosed` two."""
    decoder = decoder_of("browInnerUp_L", "browInnerUp_R", "eyesClosed", "eyeBlinkLeft")
    pose = decoder.decode(weights.write([[0.2, 0.6, 0.9, 0.1]]))[0]
    assert pose[ARKIT_INDEX["browInnerUp"]] == pytest.approx(0.4)
    assert pose[ARKIT_INDEX["eyeBlinkLeft"]] == pytest.approx(0.1)  # its own column has precedence
    assert pose[ARKIT_INDEX["eyeBlinkRight"]] == pytest.approx(0.9)


def test_a_declared_scale() -> None:
    """Weights declared as percentages are scaled."""
    decoder = decoder_of("jawOpen", "HeadYaw", scale=100.0)
    poses = decoder.decode(weights.write([[35.0, 0.1]] * 20))
    assert poses[:, JAW] == pytest.approx(0.35)
    assert poses[:, HEAD_ROTATION] == pytest.approx(np.array([[0.0, 0.1, 0.0]] * 20), abs=1e-6)
    assert decoder.complaint() is None


def test_another_scale_is_told_after_some_rows() -> None:
    """One wild row is a solver's error; many are percentages."""
    decoder = decoder_of("jawOpen", "tongueOut")
    decoder.decode(weights.write([[35.0, 1.4]] * (ROWS_TO_BE_SURE - 1)))
    assert decoder.complaint() is None
    decoder.decode(weights.write([[0.5, 1.9]] * 50))
    assert decoder.complaint() is None
    decoder.decode(weights.write([[3.0, 0.0]]))
    fault = decoder.complaint()
    assert fault is not None
    assert fault.reason is Reason.MOTION_OUT_OF_RANGE
    assert "weight_scale" in fault.text
    decoder.decode(weights.write([[35.0, 0.0]] * 50))
    assert decoder.complaint() is None


@pytest.mark.parametrize(("unit", "turn"), [(AngleUnit.RADIANS, 1.0), (AngleUnit.DEGREES, 180 / np.pi)])
def test_head_and_eyes_are_turned(unit: AngleUnit, turn: float) -> None:
    """Live Link Face's columns; a rotation about one axis is that angle on the axis."""
    names = ("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "RightEyeRoll", "jawOpen")
    decoder = decoder_of(*names, unit=unit)
    rows = np.array([[0.3, 0, 0, 0.2, 0, 0, 0.5], [0, -0.4, 0, 0, 0.1, 0, 0.5], [0, 0, 0.1, 0, 0, 0.2, 0.5]])
    rows[:, :6] *= turn
    poses = decoder.decode(weights.write(rows))
    assert poses[:, HEAD_ROTATION] == pytest.approx(np.array([[0, 0.3, 0], [-0.4, 0, 0], [0, 0, 0.1]]), abs=1e-6)
    assert poses[:, LEFT_EYE_ROTATION] == pytest.approx(np.array([[0, 0.2, 0], [0.1, 0, 0], [0, 0, 0]]), abs=1e-6)
    assert poses[:, RIGHT_EYE_ROTATION] == pytest.approx(np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.2]]), abs=1e-6)
    np.testing.assert_allclose(poses[:, JAW], 0.5)
    assert decoder.complaint() is None


def test_degrees_that_were_not_declared_are_told() -> None:
    """No head turns by more than a full rotation."""
    decoder = decoder_of("HeadYaw", "jawOpen")
    decoder.decode(weights.write([[35.0, 0.5]] * ROWS_TO_BE_SURE))
    fault = decoder.complaint()
    assert fault is not None
    assert "angle_unit" in fault.text


def test_weights_are_held_between_0_and_1() -> None:
    """A solver may overshoot."""
    poses = decoder_of("jawOpen", "tongueOut").decode(weights.write([[-0.5, 1.5]]))
    assert (poses[0, JAW], poses[0, ARKIT_INDEX["tongueOut"]]) == (0.0, 1.0)


@pytest.mark.parametrize("data", [b"\0" * 5, np.array([np.nan], "<f4").tobytes(), np.array([np.inf], "<f4").tobytes()])
def test_undecodable_rows(data: bytes) -> None:
    """Undecodable bytes are the peer's fault, and the error says so."""
    with pytest.raises(UndecodableError, match="motion payload"):
        decoder_of("jawOpen").decode(data)
