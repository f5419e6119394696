"""Motion as comma-separated values: takes of Live Link Face, and output of Audio2Face-3D's clients."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from avatar_relay.media import AngleUnit
from relay_server.sources.motion_files import timecode
from relay_server.sources.motion_files.motion_clip import MotionClip, MotionFileError, clip_of
from relay_server.sources.motion_files.table import Row, number, numbers, read_table
from relay_server.sources.motion_files.timecode import Timecode

COUNT_COLUMN = "blendshapecount"


def read_csv(data: bytes, sound_s: float, angle_unit: AngleUnit) -> MotionClip:
    """A clip of either format: `Timecode` contains time codes, or seconds. Raises `MotionFileError`."""
    header, rows = read_table(data)
    if header[0].lower() != "timecode":
        raise MotionFileError(f"line 1: its first column is {header[0][:32]!r}, not Timecode: nothing tells where its rows lie")
    first = next(rows, None)
    if first is None:
        raise MotionFileError("it has no rows")
    table = chain([first], rows)
    return _live_link(header, table, sound_s, angle_unit) if ":" in first[1][0] else _seconds(header, table, angle_unit)


def _live_link(header: list[str], table: Iterable[Row], sound_s: float, angle_unit: AngleUnit) -> MotionClip:
    """Parse a Live Link take. Rows without weights were not tracked: a gap. Columns that a row omits, by its count, keep their values."""
    counted = header[1].lower() == COUNT_COLUMN
    names = header[2 if counted else 1 :]
    codes: list[Timecode] = []
    found: list[NDArray[np.float32]] = []
    last = [0.0] * len(names)
    for line, cells in table:
        count = int(number(cells[1], line, header[1])) if counted and len(cells) > 1 else len(names)
        weights = cells[2 if counted else 1 :]
        if not any(cell.strip() for cell in weights) or count == 0:
            continue
        known = names[: len(weights)] if len(weights) == count < len(names) else names
        code = timecode.parse(cells[0], line)
        last = numbers(weights, known, line) + last[len(known) :]
        codes.append(code)
        found.append(np.array(last, np.float32))
    if not codes:
        raise MotionFileError("none of its rows has weights: the face was not tracked")
    times_s = timecode.seconds_of(codes, sound_s)
    return clip_of(names, times_s, np.array(found), angle_unit=angle_unit)


def _seconds(header: list[str], table: Iterable[Row], angle_unit: AngleUnit) -> MotionClip:
    times: list[float] = []
    found: list[NDArray[np.float32]] = []
    for line, cells in table:
        row = numbers(cells, header, line)
        if row[0] < 0 or (times and row[0] <= times[-1]):
            raise MotionFileError(f"line {line}, column {header[0]}: {row[0]:g} s is not behind what is before it")
        times.append(row[0])
        found.append(np.array(row[1:], np.float32))
    return clip_of(header[1:], np.array(times), np.array(found), angle_unit=angle_unit)
