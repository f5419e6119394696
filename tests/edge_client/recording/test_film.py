"""The film of the face: bounded, in real time, readable."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from edge_client.face.renderer import Picture
from edge_client.recording.film import MAX_BYTES, MAX_GAP_MS, WIDTH_PX, Film, create_film_memory


def new_film(max_bytes: int = MAX_BYTES) -> Film:
    """An empty film."""
    return Film(create_film_memory(), max_bytes=max_bytes)


def grey(level: int, size: tuple[int, int] = (640, 480)) -> Picture:
    """One plain picture."""
    return np.full((size[1], size[0], 3), level % 256, np.uint8)


def bar(number: int) -> Picture:
    """A white bar on black that moves to the right."""
    picture = grey(0)
    picture[:, 2 * number : 2 * number + 40] = 255
    return picture


def filmed(film: Film, seconds: float, *, pictures_per_second: float = 30.0, make: Callable[[int], Picture] = grey) -> Film:
    """Offer pictures at a rate; by default each is slightly lighter than the one before."""
    for number in range(round(seconds * pictures_per_second)):
        time_us = round(number * 1e6 / pictures_per_second)
        if film.wants(time_us):
            film.keep(make(number), time_us, time_us)
    return film


def test_keeps_at_most_twelve_and_a_half_pictures_a_second() -> None:
    """Fewer than half of 30 a second are kept, spread evenly, 320 pixels wide."""
    stills = filmed(new_film(), 10).stills
    assert 115 <= len(stills) <= 126
    gaps = {after.time_us - before.time_us for before, after in pairwise(stills)}
    assert max(gaps) <= 100_001
    assert all(still.picture.shape == (240, WIDTH_PX, 3) for still in stills)


def test_memory_is_bounded_and_the_film_stays_whole() -> None:
    """At the bound the film gets coarser: it still begins at the beginning and ends at the end."""
    bound = 40 * 240 * WIDTH_PX * 3
    stills = filmed(new_film(bound), 60).stills
    assert 20 <= len(stills) <= 40
    assert sum(still.picture.nbytes for still in stills) <= bound
    assert stills[0].time_us == 0
    assert stills[-1].time_us > 55_000_000
    assert [int(still.picture[0, 0, 0]) for still in stills] == [round(still.time_us * 30 / 1e6) % 256 for still in stills]


def test_another_process_goes_on_with_a_film() -> None:
    """The pictures are still there after the process that kept them was killed, and free slots are known."""
    memory = create_film_memory()
    bound = 40 * 240 * WIDTH_PX * 3
    filmed(Film(memory, max_bytes=bound), 7)
    before = Film(memory, max_bytes=bound).stills
    film = Film(memory, max_bytes=bound)
    film.keep(grey(9), 60_000_000, None)
    found = Film(memory).stills
    assert [still.time_us for still in found] == [*(still.time_us for still in before), 60_000_000]
    assert found[-1].pts_us is None
    assert os.fstat(memory).st_size <= bound
    os.truncate(memory, os.fstat(memory).st_size - 1)
    assert len(Film(memory)) >= len(found) - 1


def test_gif_takes_as_long_as_what_it_shows(tmp_path: Path) -> None:
    """Durations are rounded to 10 ms without accumulating errors; 320 pixels wide."""
    filmed(new_film(), 7, make=bar).write_gif(tmp_path / "face.gif")
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
    """No picture is kept between two conversations; the film does not pause for minutes there."""
    film = new_film()
    film.keep(grey(1), 0, 0)
    film.keep(grey(200), 300_000_000, None)
    film.write_gif(tmp_path / "face.gif")
    with Image.open(tmp_path / "face.gif") as gif:
        assert gif.info["duration"] == MAX_GAP_MS


def test_sheet_shows_the_whole_film_with_labels(tmp_path: Path) -> None:
    """48 pictures in rows of six from first to last, each with a text below it."""
    film = filmed(new_film(), 8)
    film.write_sheet(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels.shape == (8 * (150 + 24) + 4, 6 * 204 + 4)
    first, last = pixels[40, 100], pixels[-60, -100]
    assert (first, last) == (film.stills[0].picture[0, 0, 0], film.stills[-1].picture[0, 0, 0])
    label = pixels[155:173, 6:60]
    assert label.max() > 200 > label.mean()


def test_nothing_filmed_leaves_nothing(tmp_path: Path) -> None:
    """Without pictures no file is written."""
    new_film().write_gif(tmp_path / "face.gif")
    new_film().write_sheet(tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []
