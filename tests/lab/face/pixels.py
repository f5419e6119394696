"""Measures a face in a picture by colour alone, in the same way for the drawn head, the vector face, and screenshots of either.

Finding the mouth: lips are the only large area in the middle of the picture's lower half where red exceeds green far more than in
skin. Their bounding box gives the middle half of the columns; not its centre alone, because in a turned head or a crooked mouth the
corners do not lie around the middle of the lips. Measuring the opening in each of these columns: going down from the upper lip,
everything between the first and the last pixel that is neither lip nor skin is the inside of the mouth: the dark cavity, white teeth,
and the tongue, which is painted with more blue than green; lips and skin have less. The result is the largest of the medians over
neighbouring columns. The dark line between shut lips is thinner than `LINE_PX` in a picture 480 pixels high and counts as 0. Measured:
the opening increases monotonically with `jawOpen`, and is within a few pixels of the mesh's prediction
(`test_gles.py`) and of the painted opening (`test_flat.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edge_client.face.renderer import Picture

LINE_PX = 3.5
"""Maximum thickness of the line between shut lips, in a picture 480 pixels high."""

_LIP_RATIO = 0.60  # green over red: lips are below, skin above
_CAVITY_RATIO = 0.42  # the cavity is below, shaded lips above
_SKIN_RATIO = 0.78  # skin is below, teeth above, even in shadow
_TEETH_RATIO = 0.86
_TONGUE_BLUE = 1.04  # times green
_DARK = 110  # red: the cavity is below, and anything in shadow


@dataclass(frozen=True, slots=True)
class MouthBox:
    """Bounding box of the lips and the gap between them, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """From corner to corner."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """From the upper lip's upper edge to the lower lip's lower edge."""
        return self.bottom - self.top


def mouth_box(picture: Picture) -> MouthBox | None:
    """Find the mouth; None if there is none in the middle third of the picture."""
    height, width = picture.shape[:2]
    half = round(0.2 * min(width, height * 0.9))
    left, top, bottom = width // 2 - half, round(0.5 * height), round(0.95 * height)
    mouth = _mouth_pixels(picture[top:bottom, left : left + 2 * half])
    rows = np.flatnonzero(mouth.sum(1) > 0.04 * half)
    columns = np.flatnonzero(mouth.sum(0) > 1)
    if len(rows) < 3 or len(columns) < 3:
        return None
    first, last = _longest_run(rows, max(2, height // 80))
    from_left, to_right = _longest_run(columns, max(2, height // 12))
    return MouthBox(left + from_left, top + first, left + to_right + 1, top + last + 1)


def mouth_opening_px(picture: Picture) -> float:
    """The largest height of the gap between the lips in the middle half of the mouth, in pixels; 0 if shut or if there is no mouth."""
    box = mouth_box(picture)
    if box is None:
        return 0.0
    quarter, reach = box.width // 4, max(2, box.width // 12)
    patch = picture[max(0, box.top - 2) : box.bottom + 2, box.left + quarter - reach : box.right - quarter + reach]
    inside = _inside_pixels(patch)
    spans = [_span(inside[:, column]) for column in range(inside.shape[1])]
    opening = float(np.median(sliding_window_view(spans, min(len(spans), 2 * reach + 1)), axis=1).max())
    return opening if opening > LINE_PX * picture.shape[0] / 480 else 0.0


def changed_part(one: Picture, other: Picture, threshold: int = 24) -> float:
    """The share of pixels that differ by more than `threshold` in any colour."""
    return float((np.abs(one.astype(np.int16) - other.astype(np.int16)).max(2) > threshold).mean())


def _ratio(picture: Picture) -> NDArray[np.float64]:
    return np.asarray(picture[..., 1].astype(float) / np.maximum(picture[..., 0], 1))


def _mouth_pixels(picture: Picture) -> NDArray[np.bool_]:
    red = picture[..., 0].astype(int)
    warm = red > picture[..., 2].astype(int) + 8
    return np.asarray((_ratio(picture) < _LIP_RATIO) & warm & (red > 40))


def _inside_pixels(picture: Picture) -> NDArray[np.bool_]:
    red, ratio = picture[..., 0].astype(int), _ratio(picture)
    bluish = picture[..., 2].astype(float) > _TONGUE_BLUE * picture[..., 1]
    dark = (red < _DARK) & ((ratio < _CAVITY_RATIO) | (ratio > _SKIN_RATIO))
    return np.asarray(((ratio > _TEETH_RATIO) & (red > 90)) | dark | ((ratio < _LIP_RATIO) & bluish))


def _span(inside: NDArray[np.bool_]) -> int:
    rows = np.flatnonzero(inside)
    return int(rows[-1] - rows[0] + 1) if len(rows) else 0


def _longest_run(places: NDArray[np.int64], gap: int) -> tuple[int, int]:
    """First and last of the longest run of positions without a gap."""
    breaks = np.flatnonzero(np.diff(places) > gap)
    starts, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(places) - 1]])
    best = int(np.argmax(places[ends] - places[starts]))
    return int(places[starts[best]]), int(places[ends[best]])
