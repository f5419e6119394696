"""Writes the results of a run from memory to files: the film, and the figures."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_client.lip_sync.meter import SkewMeter
from edge_client.recording.film import Film, create_film_memory
from edge_client.recording.report import RunFigures, write_summary
from edge_client.recording.skew_plot import draw_skew

logger = logging.getLogger(__name__)

FILES = ("face.gif", "contact-sheet.png", "skew.png")


class Recorder:
    """Owns the film's memory, which the face fills; `write` saves the files once playout is over."""

    def __init__(self, skew: SkewMeter) -> None:
        """`skew` is measured by others. Raises OSError."""
        self.skew = skew
        self.film_memory = create_film_memory()
        """Descriptor of the film's memory."""

    def write(self, folder: Path, run: RunFigures) -> None:
        """Encode film, contact sheet and plot, then write the figures. Takes seconds. Raises `OSError`."""
        film = Film(self.film_memory)
        logger.info("encoding %s pictures of the face into %s", len(film), folder)
        gif, sheet, plot = (folder / name for name in FILES)
        film.write_gif(gif)
        film.write_sheet(sheet)
        draw_skew(self.skew.at_pictures, plot)
        write_summary(run, folder)
        logger.info("recorded into %s", folder)
