"""Comma-separated values: a header, followed by rows of numbers. Every error names its line, counted from 1, and its column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

from relay_server.sources.motion_files.motion_clip import MAX_ROWS, MotionFileError

MAX_COLUMNS = 300
MAX_CELL = 64
"""Characters of a cell shown in errors."""

Row = tuple[int, list[str]]
"""The line number, and the cells."""


def read_table(data: bytes) -> tuple[list[str], Iterator[Row]]:
    """The header, and the non-empty rows; accepts a byte order mark and CRLF. Raises `MotionFileError`, also midway."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MotionFileError(f"line {line}: it is not text in UTF-8") from error
    rows = _rows(text)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if len(header) < 2:
        raise MotionFileError("line 1: it has no header of names with commas between")
    if len(header) > MAX_COLUMNS:
        raise MotionFileError(f"line 1: it has {len(header)} columns; at most {MAX_COLUMNS} are read")
    return header, rows


def number(cell: str, line: int, column: str) -> float:
    """Parse a finite number. Raises `MotionFileError`."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise MotionFileError(f"line {line}, column {column[:MAX_CELL]}: {cell[:MAX_CELL]!r} is not a number")
    return value


def numbers(cells: list[str], names: list[str], line: int) -> list[float]:
    """Parse the numbers of a row, one for each name. Raises `MotionFileError`."""
    if len(cells) != len(names):
        raise MotionFileError(f"line {line}: it has {len(cells)} numbers for the header's {len(names)} names")
    return [number(cell, line, name) for cell, name in zip(cells, names, strict=True)]


def _rows(text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    count = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MAX_ROWS + 1:
                raise MotionFileError(f"line {reader.line_num}: it has more than {MAX_ROWS} rows")
            yield reader.line_num, cells
    except csv.Error as error:
        raise MotionFileError(f"line {reader.line_num}: {error}") from error
