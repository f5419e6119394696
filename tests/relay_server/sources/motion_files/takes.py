"""Takes as written by a phone, with blinks and syllables at known times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.spellings import ANGLE_NAMES

SHAPES = tuple(name[0].upper() + name[1:] for name in ARKIT_NAMES)
ANGLES = tuple(name[0].upper() + name[1:] for name in ANGLE_NAMES)
BLINK, JAW, YAW = SHAPES.index("EyeBlinkLeft"), SHAPES.index("JawOpen"), 52
BLINK_HALF_S = 0.1


def timecode(frames: float, count: int, *, drop: int = 0, start_s: int = 0, sign: str = ":") -> str:
    """The label of a frame after a start, by the second of the day; `drop`: labels are skipped in each minute but the tenth."""
    whole = int(frames + 1e-9)
    number = whole + start_s * count - (drop * (start_s // 60 - start_s // 600) if drop else 0)
    if drop:
        per_minute, per_ten = 60 * count - drop, 600 * count - 9 * drop
        tens, rest = divmod(number, per_ten)
        minutes = 0 if rest < 60 * count else 1 + (rest - 60 * count) // per_minute
        number += drop * (9 * tens + minutes)
    seconds, label = divmod(number, count)
    hours, minutes, seconds = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{sign}{label:02d}.{round((frames - whole) * 1000) % 1000:03d}"


@dataclass(frozen=True)
class Take:
    """A take and its ground truth."""

    csv: bytes
    blinks_s: NDArray[np.float64]
    """Middle of each blink."""
    seconds: float
    kept: NDArray[np.bool_]


def jaw_at(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four syllables a second."""
    return np.asarray(0.3 - 0.3 * np.cos(2 * np.pi * 4 * times_s))


def yaw_at(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A slow shake of the head, in radians."""
    return np.asarray(0.3 * np.sin(2 * np.pi * 0.5 * times_s))


def take(
    rows: int,
    *,
    count: int = 60,
    row_rate: float = 60.0,
    code_rate: float | None = None,
    drop: int = 0,
    start_s: int = 36_000,
    missing: float = 0.0,
    angles: bool = True,
    seed: int = 1,
) -> Take:
    """`row_rate` rows a second, labelled by time codes that count `count` frames a second at `code_rate` (the same) in truth."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(rows) / row_rate
    blinks_s = np.cumsum(rng.uniform(1.5, 4.0, int(times_s[-1] / 1.5) + 1))
    blinks_s = blinks_s[blinks_s < times_s[-1] - 0.3]
    values = np.zeros((rows, 61 if angles else 52))
    values[:, JAW] = jaw_at(times_s)
    apart_s = np.abs(times_s[:, None] - blinks_s[None]).min(axis=1, initial=1.0)
    values[:, BLINK] = np.clip(1 - apart_s / BLINK_HALF_S, 0, 1)
    if angles:
        values[:, YAW] = yaw_at(times_s)
    kept = rng.random(rows) >= missing
    kept[[0, -1]] = True
    header = ",".join(("Timecode", "BlendshapeCount", *SHAPES, *(ANGLES if angles else ())))
    frames = times_s * (code_rate or float(count))
    lines = [
        f"{timecode(frames[row], count, drop=drop, start_s=start_s)},{values.shape[1]},{','.join(f'{value:.10f}' for value in values[row])}"
        for row in np.flatnonzero(kept)
    ]
    return Take("\r\n".join((header, *lines, "")).encode(), blinks_s, rows / row_rate, kept)
