"""Blendshape weights on the wire: rows of little-endian float32, one weight for each name, one row per keyframe.

The names are sent once, in the conversation's `MotionFormat`; a payload holds only rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avatar_relay.limits import MAX_PAYLOAD_BYTES

Rows = NDArray[np.float32]
"""Shape (keyframes, names)."""

_WIRE = np.dtype("<f4")


class WeightsError(ValueError):
    """Not rows of weights; the text describes the error and its position."""


def count_keyframes(data: bytes, names: int) -> int:
    """Number of rows of `names` weights in a payload; the weights are not checked. Raises `WeightsError`."""
    if names < 1:
        raise WeightsError("the motion format names no blendshapes, so its rows have no width")
    if len(data) > MAX_PAYLOAD_BYTES:
        raise WeightsError(f"the payload has {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} are read")
    row_bytes = names * _WIRE.itemsize
    rows, rest = divmod(len(data), row_bytes)
    if rest:
        raise WeightsError(f"the payload has {len(data)} bytes: not whole rows of {row_bytes} ({names} names of 4 bytes)")
    return rows


def read(data: bytes, names: int) -> Rows:
    """The rows of a payload; all weights are finite, their range is as sent. Raises `WeightsError`."""
    shape = (count_keyframes(data, names), names)
    rows = np.frombuffer(data, _WIRE).reshape(shape) if data else np.zeros(shape, _WIRE)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise WeightsError(f"the weight in row {row}, column {column} is not finite")
    return rows.astype(np.float32)


def write(rows: ArrayLike) -> bytes:
    """Encode rows of weights as a payload. Raises `WeightsError` for a wrong shape."""
    array = np.asarray(rows, _WIRE)
    if array.ndim != 2:
        raise WeightsError(f"rows of weights have two dimensions, not {array.ndim}")
    return array.tobytes()
