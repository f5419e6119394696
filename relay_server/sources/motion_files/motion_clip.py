"""The result of a motion file reader: timed rows of named weights, placed on an even grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay.limits import MAX_BLENDSHAPE_NAMES, MAX_KEYFRAMES_PER_SECOND
from avatar_relay.media import AngleUnit, MotionEncoding, MotionFormat, NameSet

MAX_CSV_BYTES = 64 << 20
MAX_JSON_BYTES = 32 << 20
"""Both limits allow about 15 minutes at 60 rows per second."""
MAX_SECONDS = 15 * 60
MAX_ROWS = 120_000
MAX_GAP_S = 0.2
"""Longest gap between rows that is interpolated, in s; the same as on a device."""
COMMON_RATES = (15.0, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 90.0, 100.0, 120.0)
RATE_TOLERANCE = 0.005


class MotionFileError(ValueError):
    """The file cannot be played as motion; the text names the problem and its position."""


@dataclass(frozen=True, slots=True, eq=False)
class MotionClip:
    """Rows on a grid: row n at n / `motion_format.keyframes_per_second` from the first sample of the sound."""

    motion_format: MotionFormat
    rows: NDArray[np.float32]


def clip_of(
    names: list[str],
    times_s: NDArray[np.float64],
    rows: NDArray[np.float32],
    *,
    rate: float | None = None,
    name_set: NameSet = NameSet.ARKIT,
    angle_unit: AngleUnit = AngleUnit.RADIANS,
) -> MotionClip:
    """A clip of rows at ascending times; `rate` None: derived from the times. Raises `MotionFileError`."""
    if not len(rows):
        raise MotionFileError("it has no rows")
    if len(set(names)) != len(names) or not 1 <= len(names) <= MAX_BLENDSHAPE_NAMES:
        raise MotionFileError(f"it has {len(names)} columns of weights; 1 to {MAX_BLENDSHAPE_NAMES} with different names are read")
    if times_s[-1] > MAX_SECONDS:
        raise MotionFileError(f"it is {times_s[-1]:.0f} s long; at most {MAX_SECONDS} s are played")
    rate = rate if rate is not None else rate_of(times_s)
    motion_format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, rate, tuple(names), name_set, angle_unit=angle_unit)
    return MotionClip(motion_format, on_grid(times_s, rows, motion_format.keyframes_per_second))


def rate_of(times_s: NDArray[np.float64]) -> float:
    """Rows per second if none is missing, snapped to a common rate."""
    if len(times_s) < 2:
        return 30.0
    found = 1 / float(np.median(np.diff(times_s)))
    near = min(COMMON_RATES, key=lambda rate: abs(rate - found))
    return near if abs(near - found) <= RATE_TOLERANCE * near else min(max(found, 1.0), MAX_KEYFRAMES_PER_SECOND)


def on_grid(times_s: NDArray[np.float64], rows: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """Rows at n / `rate`, from the first sample of the sound to the last row: interpolated, but held in a gap over `MAX_GAP_S`."""
    grid_s = np.arange(int(times_s[-1] * rate + 0.5) + 1) / rate
    behind = np.clip(np.searchsorted(times_s, grid_s, side="right"), 1, max(len(times_s) - 1, 1))
    if len(times_s) == 1:
        return np.repeat(rows, len(grid_s), axis=0)
    left_s, right_s = times_s[behind - 1], times_s[behind]
    begin_s = np.where(right_s - left_s > MAX_GAP_S, right_s - 1 / rate, left_s)
    share = np.clip((grid_s - begin_s) / (right_s - begin_s), 0.0, 1.0)[:, None].astype(np.float32)
    return np.asarray(rows[behind - 1] + (rows[behind] - rows[behind - 1]) * share, np.float32)
