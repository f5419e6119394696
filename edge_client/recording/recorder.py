"""Watches the stage for a recording: film, skew of each picture, the longest time that the face stood still in speech."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from edge_client.events import PlaybackState
from edge_client.face.renderer import Renderer
from edge_client.face.stage import ShownPicture
from edge_client.recording.figures import SkewFigures, skew_figures
from edge_client.recording.film import Film
from edge_client.recording.skew_plot import Point, draw_skew

logger = logging.getLogger(__name__)

MAX_POINTS = 108_000
"""Readings of skew that are kept: an hour at 30 pictures a second. The oldest go first."""
TAIL_US = 1_500_000
"""The film goes on this long after a conversation, so that the face is seen coming to rest."""
FILES = ("face.gif", "contact-sheet.png", "skew.png")


class SkewRecord:
    """Skew of each picture, and the longest hold: how long the pose shown did not advance while sound was heard."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=MAX_POINTS)
        self._first_us: int | None = None
        self._advanced: tuple[str | None, int, int] | None = None
        self.longest_hold_us = 0

    def add(self, picture: ShownPicture) -> None:
        """Take a picture; one without skew ends a hold."""
        skew_us = picture.skew_us
        if skew_us is None or picture.view.shown_pts_us is None:
            self._advanced = None
            return
        if self._first_us is None:
            self._first_us = picture.shown_time_us
        self._points.append(((picture.shown_time_us - self._first_us) / 1e6, skew_us / 1e3))
        conversation_id, pts_us, now_us = picture.view.conversation_id, picture.view.shown_pts_us, picture.shown_time_us
        if self._advanced is None or self._advanced[0] != conversation_id or pts_us > self._advanced[1]:
            self._advanced = (conversation_id, pts_us, now_us)
        else:
            self.longest_hold_us = max(self.longest_hold_us, now_us - self._advanced[2])

    @property
    def points(self) -> list[Point]:
        """Seconds since the first picture with skew, skew in ms."""
        return list(self._points)

    def figures(self) -> SkewFigures | None:
        """Figures of what is kept."""
        return skew_figures([value for _, value in self._points])


class Recorder:
    """A watcher of the stage that records; `write` leaves the files once playout is over."""

    def __init__(self) -> None:
        self.skew = SkewRecord()
        self.film = Film()
        self._active_until_us = 0

    def shown(self, picture: ShownPicture, renderer: Renderer) -> None:
        """Note the skew; keep the picture where it is its time."""
        self.skew.add(picture)
        now_us = picture.shown_time_us
        if picture.view.state is not PlaybackState.IDLE:
            self._active_until_us = now_us + TAIL_US
        if now_us < self._active_until_us and self.film.wants(now_us):
            self.film.keep(renderer.read(), now_us, picture.view.shown_pts_us)

    def write(self, folder: Path) -> None:
        """Encode film, contact sheet and plot. Takes seconds. Raises `OSError` where the folder can not be written."""
        logger.info("encoding %s pictures of the face into %s", len(self.film.stills), folder)
        gif, sheet, plot = (folder / name for name in FILES)
        self.film.write_gif(gif)
        self.film.write_sheet(sheet)
        draw_skew(self.skew.points, self.skew.figures(), plot)
