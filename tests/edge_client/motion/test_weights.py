"""Rows of weights to poses."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.errors import UndecodableError
from edge_client.motion.pose import BLENDSHAPES, POSE_SIZE
from edge_client.motion.weights import WeightsDecoder


def test_names_in_any_order() -> None:
    """A column goes to the blendshape that it is named after."""
    names = tuple(reversed(ARKIT_NAMES))
    row = np.linspace(0, 1, 52, dtype=np.float32)
    poses = WeightsDecoder(names).decode(weights.write([row]))
    np.testing.assert_array_equal(poses[0, BLENDSHAPES], row[::-1])


def test_blendshapes_not_named_are_zero() -> None:
    """Only what is named moves."""
    poses = WeightsDecoder(("jawOpen",)).decode(weights.write([[0.4], [0.6]]))
    assert poses.shape == (2, POSE_SIZE)
    np.testing.assert_allclose(poses[:, ARKIT_INDEX["jawOpen"]], [0.4, 0.6])
    assert np.count_nonzero(poses) == 2


def test_unknown_names_are_left_out_and_counted() -> None:
    """A name that is not ARKit's, or that was there before, moves nothing."""
    decoder = WeightsDecoder(("hairWave", "jawOpen", "jawOpen"))
    poses = decoder.decode(weights.write([[1.0, 0.25, 0.75]]))
    assert decoder.unknown_names == 2
    assert poses[0, ARKIT_INDEX["jawOpen"]] == 0.25
    assert np.count_nonzero(poses) == 1


@pytest.mark.parametrize("name", ["mouthSmileLeft", "MouthSmileLeft", "mouthSmile_L", "mouth_smile_left", "MOUTHSMILE_L"])
def test_other_spellings(name: str) -> None:
    """Audio2Face-3D and exporters spell the same names differently."""
    assert WeightsDecoder((name,)).decode(weights.write([[1.0]]))[0, ARKIT_INDEX["mouthSmileLeft"]] == 1.0


def test_weights_are_held_between_0_and_1() -> None:
    """A solver may overshoot."""
    poses = WeightsDecoder(("jawOpen", "tongueOut")).decode(weights.write([[-0.5, 1.5]]))
    assert (poses[0, ARKIT_INDEX["jawOpen"]], poses[0, ARKIT_INDEX["tongueOut"]]) == (0.0, 1.0)


@pytest.mark.parametrize("data", [b"\0" * 5, np.array([np.nan], "<f4").tobytes(), np.array([np.inf], "<f4").tobytes()])
def test_undecodable_rows(data: bytes) -> None:
    """Bad bytes are the peer's fault and say so."""
    with pytest.raises(UndecodableError, match="motion payload"):
        WeightsDecoder(("jawOpen",)).decode(data)
