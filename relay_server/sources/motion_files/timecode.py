"""SMPTE time codes to seconds. A time code counts frames; the duration of a frame must be inferred.

Rules

1. The format is `HH:MM:SS:FF`, also with `;` or `.` before the frames, and optionally with a fraction of a frame (`FF.sss`).
2. The frame count per second is the smallest common rate that the largest `FF` fits into. For a take of less than a second it is 30 or 60.
3. Drop-frame counting omits the first labels of each minute except every tenth. It is indicated by `;`, or detected if every start of a
   minute in the take shows it. It implies a rate divided by 1.001 (29.97, 59.94).
4. Without drop-frame counting, 29.97 and 30 look alike. If the length of the sound matches the take at the rate divided by 1.001, to within
   a row, and does not at the plain rate, the former is used.
5. A time code that decreases by more than half a day has passed midnight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from relay_server.sources.motion_files.motion_clip import MotionFileError

COUNTS = (24, 25, 30, 48, 50, 60, 100, 120, 240)
DROPPED = {30: 2, 60: 4, 120: 8}
"""Labels that drop-frame counting omits, by frame count."""
NTSC = 1.001
_PATTERN = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.])(\d{2,3})(\.\d{1,9})?")


class Timecode(NamedTuple):
    """A time code, and its line in the file."""

    line: int
    minutes: int
    """Minutes since midnight."""
    seconds: int
    frames: float
    drop_sign: bool


def parse(text: str, line: int) -> Timecode:
    """Parse a time code. Raises `MotionFileError`."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise MotionFileError(f"line {line}, column Timecode: {text[:32]!r} is not a time code such as 10:22:31:05.123")
    hours, minutes, seconds, sign, frames, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59 or int(frames) >= COUNTS[-1]:
        raise MotionFileError(f"line {line}, column Timecode: {text[:32]!r} is no time of a day")
    return Timecode(line, 60 * int(hours) + int(minutes), int(seconds), int(frames) + float(fraction or 0), sign == ";")


def seconds_of(codes: Sequence[Timecode], sound_s: float) -> NDArray[np.float64]:
    """The time of each code relative to the first, ascending. Raises `MotionFileError`. `sound_s` is the length of the sound (rule 4)."""
    codes = _over_midnight(codes)
    count = _count(codes)
    drops = _has_drops(codes, count)
    frames = np.array([_frames(code, count, drops) for code in codes])
    frames -= frames[0]
    for (before, behind), step in zip(pairwise(codes), np.diff(frames), strict=True):
        if step <= 0:
            raise MotionFileError(f"line {behind.line}, column Timecode: time does not go on from the one on line {before.line}")
    plain_s, ntsc_s = frames / count, frames / count * NTSC
    return ntsc_s if drops or _fits_ntsc_only(plain_s, ntsc_s, sound_s) else plain_s


def _over_midnight(codes: Sequence[Timecode]) -> list[Timecode]:
    days, found = 0, list(codes[:1])
    for before, code in pairwise(codes):
        days += code.minutes < before.minutes - 12 * 60
        found.append(code._replace(minutes=code.minutes + days * 24 * 60))
    return found


def _count(codes: Sequence[Timecode]) -> int:
    largest = int(max(code.frames for code in codes))
    passes_a_second = len({(code.minutes, code.seconds) for code in codes}) > 1
    return next(count for count in (COUNTS if passes_a_second else (30, 60, *COUNTS[-3:])) if count > largest)


def _has_drops(codes: Sequence[Timecode], count: int) -> bool:
    if count not in DROPPED:
        return False
    if any(code.drop_sign for code in codes):
        return True
    begins = [
        (before, code)
        for before, code in pairwise(codes)
        if code.minutes == before.minutes + 1 and code.minutes % 10 and (before.seconds, code.seconds) == (59, 0)
    ]
    if not begins:
        return False
    # The omitted labels are between the last row of a minute and the first of the next, which are neighbours nevertheless.
    step = float(np.median([_frames(b, count, False) - _frames(a, count, False) for a, b in pairwise(codes)]))
    across = [_frames(code, count, False) - _frames(before, count, False) for before, code in begins]
    return all(
        code.frames >= DROPPED[count] and frames < DROPPED[count] + 1.5 * step for (_, code), frames in zip(begins, across, strict=True)
    )


def _frames(code: Timecode, count: int, drops: bool) -> float:
    dropped = DROPPED[count] * (code.minutes - code.minutes // 10) if drops else 0
    return (60 * code.minutes + code.seconds) * count + code.frames - dropped


def _fits_ntsc_only(plain_s: NDArray[np.float64], ntsc_s: NDArray[np.float64], sound_s: float) -> bool:
    if len(plain_s) < 2:
        return False
    step_s = float(np.median(np.diff(plain_s)))
    return bool(abs(ntsc_s[-1] + step_s - sound_s) <= step_s < abs(plain_s[-1] + step_s - sound_s))
