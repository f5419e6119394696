"""A film of the face in bounded memory: small raw pictures during playback, GIF and contact sheet after it.

Pictures are kept while the sound plays, so keeping one must be cheap: it is only scaled down. Encoding takes
seconds and is done after playout. The memory belongs to the core and is filled by the face's process, which may be killed at
any time; the next one continues with it. When the memory is full every second picture is removed and the rate is halved:
a long run gets a coarser film, never a truncated one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_client.face.renderer import Picture

WIDTH_PX = 320
INTERVAL_US = 80_000
"""12.5 pictures a second: the GIF's own step is 10 ms, and browsers slow down steps below 20 ms."""
EARLY_US = 5_000
"""A picture may be this much too early: the next one may be a whole picture later."""
MAX_BYTES = 96 << 20
"""25 s at 320×320, or 42 s at 320×192, before the film gets coarser."""
MAX_GAP_MS = 2_000
"""Longest time for which a picture before a gap (the face rested, nothing was kept) is shown."""
SHEET_COLUMNS = 6
SHEET_PICTURES = 48
SHEET_PICTURE_PX = 200
_LABEL_PX = 20
_GAP_PX = 4
_GROUND = (24, 24, 28)
_INK = (235, 235, 235)
_HEAD = struct.Struct("<qqII")
"""Time (below 0: the slot is free), PTS (below 0: none), height, width."""
_FREE = struct.pack("<q", -1)


@dataclass(frozen=True, slots=True)
class Still:
    """A picture of the film: RGB, `WIDTH_PX` wide; the PTS shown, None if no motion was shown."""

    picture: Picture
    time_us: int
    pts_us: int | None


def create_film_memory() -> int:
    """Allocate memory for a film, which outlives the process that fills it; returns its descriptor. Raises OSError."""
    return os.memfd_create("avatar-relay-film", os.MFD_CLOEXEC)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot in the memory: a header and a picture."""

    offset: int
    bytes: int
    time_us: int


class Film:
    """A film in the memory of a descriptor. Not thread-safe; one process writes at a time. Kept pictures are visible at once to others."""

    def __init__(self, descriptor: int, *, max_bytes: int = MAX_BYTES) -> None:
        """Continue with the existing content."""
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._interval_us = INTERVAL_US
        found = sorted(_read_slots(descriptor), key=lambda slot: slot.time_us)
        self._slots = [slot for slot in found if slot.time_us >= 0]
        self._free = [slot for slot in found if slot.time_us < 0]
        self._end = max((slot.offset + slot.bytes for slot in found), default=0)
        self._due_us: int | None = None

    @property
    def stills(self) -> tuple[Still, ...]:
        """All pictures kept, in order."""
        return tuple(self._still(slot) for slot in self._slots)

    def __len__(self) -> int:
        """Number of pictures kept."""
        return len(self._slots)

    def wants(self, time_us: int) -> bool:
        """Whether a picture at this time would be kept: only then is it worth reading it back."""
        return self._due_us is None or time_us >= self._due_us - EARLY_US

    def keep(self, picture: Picture, time_us: int, pts_us: int | None) -> None:
        """Keep a picture, scaled down. Call it only if `wants` returned True."""
        small = _scaled(picture)
        if self._slots and self._bytes + _HEAD.size + small.nbytes > self._max_bytes:
            self._thin()
        slot = self._room(_HEAD.size + small.nbytes, time_us)
        if slot is not None:
            head = _HEAD.pack(time_us, -1 if pts_us is None else pts_us, *small.shape[:2])
            os.pwritev(self._descriptor, [head, small.tobytes()], slot.offset)
            self._slots.append(slot)
        due_us = time_us if self._due_us is None else self._due_us
        self._due_us = max(due_us + self._interval_us, time_us + self._interval_us // 2)

    @property
    def _bytes(self) -> int:
        return sum(slot.bytes for slot in self._slots)

    def _room(self, size: int, time_us: int) -> _Slot | None:
        """Return a slot for `size` bytes: a free one, else a new one at the end; None if there is no memory for it."""
        for place, slot in enumerate(self._free):
            if slot.bytes == size:
                del self._free[place]
                return _Slot(slot.offset, size, time_us)
        if self._end + size > self._max_bytes and self._slots:
            return None
        slot = _Slot(self._end, size, time_us)
        self._end += size
        return slot

    def _thin(self) -> None:
        for slot in self._slots[1::2]:
            os.pwrite(self._descriptor, _FREE, slot.offset)
            self._free.append(slot)
        self._slots = self._slots[::2]
        self._interval_us *= 2

    def _still(self, slot: _Slot) -> Still:
        packed = os.pread(self._descriptor, slot.bytes, slot.offset)
        time_us, pts_us, height, width = _HEAD.unpack_from(packed)
        picture = np.frombuffer(packed, np.uint8, offset=_HEAD.size).reshape(height, width, 3)
        return Still(picture, time_us, None if pts_us < 0 else pts_us)

    def write_gif(self, path: Path) -> None:
        """Write the film with its real timing. Nothing is written if no pictures were kept."""
        if not self._slots:
            return
        palette = self._sheet_of(self._spread(16), WIDTH_PX // 2).quantize(256)
        frames = [Image.fromarray(still.picture).quantize(palette=palette, dither=Image.Dither.NONE) for still in self.stills]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=self._durations_ms(), loop=0, optimize=False)

    def write_sheet(self, path: Path) -> None:
        """Write pictures spread over the whole film, each with its PTS. Nothing is written if no pictures were kept."""
        if self._slots:
            self._sheet_of(self._spread(SHEET_PICTURES), SHEET_PICTURE_PX).save(path)

    def _durations_ms(self) -> list[int]:
        """Duration of each picture, in steps of 10 ms whose rounding errors do not accumulate."""
        times = [slot.time_us for slot in self._slots]
        times.append(times[-1] + self._interval_us)
        marks = [0]
        for before, after in pairwise(times):
            marks.append(marks[-1] + min(after - before, MAX_GAP_MS * 1_000))
        steps = [round(mark / 10_000) for mark in marks]
        return [max(2, after - before) * 10 for before, after in pairwise(steps)]

    def _spread(self, count: int) -> list[Still]:
        places = np.linspace(0, len(self._slots) - 1, min(count, len(self._slots)))
        return [self._still(self._slots[round(place)]) for place in places.tolist()]

    def _sheet_of(self, stills: list[Still], width: int) -> Image.Image:
        height = max(1, round(stills[0].picture.shape[0] * width / stills[0].picture.shape[1]))
        columns = min(SHEET_COLUMNS, len(stills))
        rows = -(-len(stills) // columns)
        cell_width, cell_height = width + _GAP_PX, height + _LABEL_PX + _GAP_PX
        sheet = Image.new("RGB", (columns * cell_width + _GAP_PX, rows * cell_height + _GAP_PX), _GROUND)
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
        for place, still in enumerate(stills):
            x, y = _GAP_PX + place % columns * cell_width, _GAP_PX + place // columns * cell_height
            sheet.paste(Image.fromarray(still.picture).resize((width, height), Image.Resampling.BILINEAR), (x, y))
            draw.text((x + 2, y + height + 1), _label(still), fill=_INK, font=font)
        return sheet


def _read_slots(descriptor: int) -> Iterator[_Slot]:
    """All slots of a film's memory, in its order; free ones have a time below 0. An incomplete slot at the end is skipped."""
    offset, end = 0, os.fstat(descriptor).st_size
    while offset + _HEAD.size <= end:
        time_us, _, height, width = _HEAD.unpack(os.pread(descriptor, _HEAD.size, offset))
        size = _HEAD.size + height * width * 3
        if offset + size > end:
            return
        yield _Slot(offset, size, time_us)
        offset += size


def _label(still: Still) -> str:
    return "at rest" if still.pts_us is None else f"{still.pts_us / 1e6:.2f} s"


def _scaled(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    if width == WIDTH_PX:
        return picture.copy()
    size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
