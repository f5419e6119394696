"""Watches the stage for a recording: film and skew."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_client.audio.timeline import Position
from edge_client.events import PlaybackState
from edge_client.face.renderer import Picture
from edge_client.face.stage import ShownPicture
from edge_client.lip_sync import HEARD_STEP_US, SkewMeter
from edge_client.recording.film import Film
from edge_client.recording.report import RunFigures, write_summary
from edge_client.recording.skew_plot import draw_skew

logger = logging.getLogger(__name__)

TAIL_US = 1_500_000
"""The film goes on this long after a conversation, so that the face is seen coming to rest."""
FILES = ("face.gif", "contact-sheet.png", "skew.png")


class SkewWatch:
    """Feeds a `SkewMeter` from the pictures of a stage.

    What was heard between two pictures lies on a line between what was heard at each of them, so the meter's second way
    (every 10 ms of heard time, against what was on the glass then) needs no thread of its own.
    """

    def __init__(self) -> None:
        self.meter = SkewMeter()
        self._last: tuple[int, Position] | None = None

    def add(self, picture: ShownPicture) -> None:
        """Take a picture."""
        view, now_us = picture.view, picture.shown_time_us
        heard = shown = None
        if view.conversation_id is not None and picture.heard_pts_us is not None:
            heard = Position(view.conversation_id, picture.heard_pts_us)
            self._hear_between(now_us, heard)
        if view.conversation_id is not None and view.shown_pts_us is not None:
            shown = Position(view.conversation_id, view.shown_pts_us)
        self.meter.picture(now_us, shown, heard)
        self._last = (now_us, heard) if heard is not None else None

    def _hear_between(self, now_us: int, heard: Position) -> None:
        if self._last is None or self._last[1].conversation_id != heard.conversation_id:
            return
        last_us, last = self._last
        for time_us in range(last_us, now_us, HEARD_STEP_US):
            share = (time_us - last_us) / (now_us - last_us)
            pts_us = last.pts_us + round((heard.pts_us - last.pts_us) * share)
            self.meter.heard(time_us, Position(heard.conversation_id, pts_us))


class Recorder:
    """A watcher of the stage that records; `write` leaves the files once playout is over."""

    def __init__(self) -> None:
        self._skew = SkewWatch()
        self.film = Film()
        self._active_until_us = 0

    @property
    def skew(self) -> SkewMeter:
        """Skew so far."""
        return self._skew.meter

    def wants(self, now_us: int) -> bool:
        """Whether a picture of this time goes into the film: in a conversation and a little after, at the film's rate."""
        return now_us < self._active_until_us and self.film.wants(now_us)

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Note the skew; keep the pixels where they were wanted."""
        self._skew.add(picture)
        if picture.view.state is not PlaybackState.IDLE:
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
