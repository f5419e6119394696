"""Records the pictures shown, and the figures of the run."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_client.face.render_loop import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.lip_sync.meter import SkewMeter
from edge_client.playback.events import PlayerState
from edge_client.recording.film import Film
from edge_client.recording.report import RunFigures, write_summary
from edge_client.recording.skew_plot import draw_skew

logger = logging.getLogger(__name__)

TAIL_US = 1_500_000
"""The film goes on this long after a conversation, so that the face is seen coming to rest."""
FILES = ("face.gif", "contact-sheet.png", "skew.png")


class Recorder(PictureObserver):
    """Keeps pictures for the film; `write` leaves the files once playout is over."""

    def __init__(self, skew: SkewMeter) -> None:
        """`skew` is measured by others."""
        self.skew = skew
        self.film = Film()
        self._active_until_us = 0

    def wants(self, now_us: int) -> bool:
        """Whether a picture of this time goes into the film: in a conversation and a little after, at the film's rate."""
        return now_us < self._active_until_us and self.film.wants(now_us)

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Keep the pixels where they were wanted."""
        if picture.view.state is not PlayerState.IDLE:
            self._active_until_us = picture.shown_time_us + TAIL_US
        if pixels is not None:
            self.film.keep(pixels, picture.shown_time_us, picture.view.shown_pts_us)

    def write(self, folder: Path, run: RunFigures) -> None:
        """Encode film, contact sheet and plot, then tell the figures. Takes seconds. Raises `OSError`."""
        logger.info("encoding %s pictures of the face into %s", len(self.film.stills), folder)
        gif, sheet, plot = (folder / name for name in FILES)
        self.film.write_gif(gif)
        self.film.write_sheet(sheet)
        draw_skew(self.skew.at_pictures, plot)
        write_summary(run, folder)
        logger.info("recorded into %s", folder)
