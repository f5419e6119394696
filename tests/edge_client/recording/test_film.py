"""The film of the face: bounded, in real time, readable."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from edge_client.face.renderer import Picture
from edge_client.recording.film import MAX_GAP_MS, WIDTH_PX, Film


def grey(level: int, size: tuple[int, int] = (640, 480)) -> Picture:
    """One plain picture."""
    return np.full((size[1], size[0], 3), level % 256, np.uint8)


def bar(number: int) -> Picture:
    """A white bar on black that moves to the right."""
    picture = grey(0)
    picture[:, 2 * number : 2 * number + 40] = 255
    return picture


def filmed(film: Film, seconds: float, *, pictures_per_second: float = 30.0, make: Callable[[int], Picture] = grey) -> Film:
    """Offer pictures at a rate; unless told otherwise each is a little lighter than the one before."""
    for number in range(round(seconds * pictures_per_second)):
        time_us = round(number * 1e6 / pictures_per_second)
        if film.wants(time_us):
            film.keep(make(number), time_us, time_us)
    return film


def test_keeps_at_most_twelve_and_a_half_pictures_a_second() -> None:
    """Of 30 a second fewer than half are kept, spread evenly, 320 pixels wide."""
    stills = filmed(Film(), 10).stills
    assert 115 <= len(stills) <= 126
    gaps = {after.time_us - before.time_us for before, after in pairwise(stills)}
    assert max(gaps) <= 100_001
    assert all(still.picture.shape == (240, WIDTH_PX, 3) for still in stills)


def test_memory_is_bounded_and_the_film_stays_whole() -> None:
    """When the bound is reached the film gets coarser: it still begins at the beginning and ends at the end."""
    bound = 40 * 240 * WIDTH_PX * 3
    stills = filmed(Film(max_bytes=bound), 60).stills
    assert 20 <= len(stills) <= 40
    assert sum(still.picture.nbytes for still in stills) <= bound
    assert stills[0].time_us == 0
    assert stills[-1].time_us > 55_000_000


def test_gif_takes_as_long_as_what_it_shows(tmp_path: Path) -> None:
    """Durations are rounded to 10 ms without adding up; 320 pixels wide."""
    filmed(Film(), 7, make=bar).write_gif(tmp_path / "face.gif")
    with Image.open(tmp_path / "face.gif") as gif:
        total_ms, frames = 0, getattr(gif, "n_frames", 0)
        assert gif.width == WIDTH_PX
        for number in range(frames):
            gif.seek(number)
            total_ms += gif.info["duration"]
            assert gif.info["duration"] >= 60
    assert abs(total_ms - 7_000) < 120
    assert frames > 60


def test_a_long_rest_is_cut(tmp_path: Path) -> None:
    """Between two conversations nothing is kept; the film does not stand there for minutes."""
    film = Film()
    film.keep(grey(1), 0, 0)
    film.keep(grey(200), 300_000_000, None)
    film.write_gif(tmp_path / "face.gif")
    with Image.open(tmp_path / "face.gif") as gif:
        assert gif.info["duration"] == MAX_GAP_MS


def test_sheet_shows_the_whole_film_with_labels(tmp_path: Path) -> None:
    """48 pictures in rows of six from first to last, and something is written under each."""
    film = filmed(Film(), 8)
    film.write_sheet(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels.shape == (8 * (150 + 24) + 4, 6 * 204 + 4)
    first, last = pixels[40, 100], pixels[-60, -100]
    assert (first, last) == (film.stills[0].picture[0, 0, 0], film.stills[-1].picture[0, 0, 0])
    label = pixels[155:173, 6:60]
    assert label.max() > 200 > label.mean()


def test_nothing_filmed_leaves_nothing(tmp_path: Path) -> None:
    """No picture, no file."""
    Film().write_gif(tmp_path / "face.gif")
    Film().write_sheet(tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []
