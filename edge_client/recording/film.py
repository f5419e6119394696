"""A film of the face in bounded memory: small raw pictures while it plays, GIF and contact sheet when it is over.

Pictures are kept while the sound plays, so keeping one must be cheap: it is scaled down and nothing else. Encoding costs
seconds and is done after playout. When the memory is full every second picture goes and pictures are kept half as often:
a long run gets a coarser film, never half of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_client.face.renderer import Picture

WIDTH_PX = 320
INTERVAL_US = 80_000
"""12.5 pictures a second: the GIF's own step is 10 ms, and browsers slow down what is below 20 ms."""
EARLY_US = 5_000
"""A picture this much before its time is taken: the next one may be a whole picture later."""
MAX_BYTES = 96 << 20
"""25 s at 320×320, or 42 s at 320×192, before the film gets coarser."""
MAX_GAP_MS = 2_000
"""A gap between two pictures (the face rested, nothing was kept) is shown this long at most."""
SHEET_COLUMNS = 6
SHEET_PICTURES = 48
SHEET_PICTURE_PX = 200
_LABEL_PX = 20
_GAP_PX = 4
_GROUND = (24, 24, 28)
_INK = (235, 235, 235)


@dataclass(frozen=True, slots=True)
class Still:
    """One picture of the film: RGB, `WIDTH_PX` wide; the PTS shown, None where no motion was."""

    picture: Picture
    time_us: int
    pts_us: int | None


class Film:
    """Keeps pictures. Not thread-safe."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._interval_us = INTERVAL_US
        self._stills: list[Still] = []
        self._bytes = 0
        self._due_us: int | None = None

    @property
    def stills(self) -> tuple[Still, ...]:
        """All that is kept, in order."""
        return tuple(self._stills)

    def wants(self, time_us: int) -> bool:
        """Whether a picture of this time would be kept: only then is it worth reading it back."""
        return self._due_us is None or time_us >= self._due_us - EARLY_US

    def keep(self, picture: Picture, time_us: int, pts_us: int | None) -> None:
        """Keep a picture, scaled down. `wants` was asked before."""
        small = _scaled(picture)
        if self._stills and self._bytes + small.nbytes > self._max_bytes:
            self._thin()
        self._stills.append(Still(small, time_us, pts_us))
        self._bytes += small.nbytes
        due_us = time_us if self._due_us is None else self._due_us
        self._due_us = max(due_us + self._interval_us, time_us + self._interval_us // 2)

    def _thin(self) -> None:
        self._stills = self._stills[::2]
        self._bytes = sum(still.picture.nbytes for still in self._stills)
        self._interval_us *= 2

    def write_gif(self, path: Path) -> None:
        """Write the film in the time in which it was shown. Nothing is written where nothing was kept."""
        if not self._stills:
            return
        palette = self._sheet_of(self._spread(16), WIDTH_PX // 2).quantize(256)
        frames = [Image.fromarray(still.picture).quantize(palette=palette, dither=Image.Dither.NONE) for still in self._stills]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=self._durations_ms(), loop=0, optimize=False)

    def write_sheet(self, path: Path) -> None:
        """Write pictures spread over the whole film, each with its PTS. Nothing is written where nothing was kept."""
        if self._stills:
            self._sheet_of(self._spread(SHEET_PICTURES), SHEET_PICTURE_PX).save(path)

    def _durations_ms(self) -> list[int]:
        """How long each picture stands, in steps of 10 ms whose rounding does not add up."""
        times = [still.time_us for still in self._stills]
        times.append(times[-1] + self._interval_us)
        marks = [0]
        for before, after in pairwise(times):
            marks.append(marks[-1] + min(after - before, MAX_GAP_MS * 1_000))
        steps = [round(mark / 10_000) for mark in marks]
        return [max(2, after - before) * 10 for before, after in pairwise(steps)]

    def _spread(self, count: int) -> list[Still]:
        places = np.linspace(0, len(self._stills) - 1, min(count, len(self._stills)))
        return [self._stills[round(place)] for place in places.tolist()]

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


def _label(still: Still) -> str:
    return "at rest" if still.pts_us is None else f"{still.pts_us / 1e6:.2f} s"


def _scaled(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    if width == WIDTH_PX:
        return picture.copy()
    size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
