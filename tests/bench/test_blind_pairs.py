"""Crops of the head for a blind comparison."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.face.camera import Camera
from scripts.assets.blind_pairs import CROPS, beside, cropped


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_shows_its_part_at_half_the_size(crop: str) -> None:
    """Its centre is where the camera sees the middle of the box; its sides have the box's ratio."""
    side = 400
    left, top, right, bottom = CROPS[crop]
    middle = Camera(side, side).pixels(np.array([((left + right) / 2, (top + bottom) / 2, 0)], np.float32))[0].round().astype(int)
    picture = np.zeros((side, side, 3), np.uint8)
    picture[middle[1] - 6 : middle[1] + 6, middle[0] - 6 : middle[0] + 6] = 255
    part = np.asarray(cropped(picture, CROPS[crop]))
    rows, columns = np.nonzero(part[..., 0] > 128)
    assert abs(rows.mean() - part.shape[0] / 2) < 4
    assert abs(columns.mean() - part.shape[1] / 2) < 4
    assert part.shape[1] / part.shape[0] == pytest.approx((right - left) / (top - bottom), rel=0.06)


def test_a_pair_has_the_left_one_on_the_left() -> None:
    """So that the key is true."""
    one, other = (cropped(np.full((400, 400, 3), level, np.uint8), CROPS["eyes"]) for level in (10, 200))
    sheet = np.asarray(beside(one, other))
    assert (sheet[2, 0] == 10).all()
    assert (sheet[2, -1] == 200).all()
