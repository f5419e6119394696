"""Keeps shown pictures for a film, in the process that draws them."""

from __future__ import annotations

from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.playback.events import PlayerState
from edge_client.recording.film import Film

TAIL_US = 1_500_000
"""The film continues for this time after a conversation, to show the face coming to rest."""


class FilmKeeper(PictureObserver):
    """Fills the film's memory behind a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.film = Film(descriptor)
        self._active_until_us = 0

    def wants(self, now_us: int) -> bool:
        """Whether a picture at this time goes into the film: during a conversation and shortly after, at the film's rate."""
        return now_us < self._active_until_us and self.film.wants(now_us)

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Keep the pixels if they were wanted."""
        if picture.view.state is not PlayerState.IDLE:
            self._active_until_us = picture.shown_time_us + TAIL_US
        if pixels is not None:
            self.film.keep(pixels, picture.shown_time_us, picture.view.shown_pts_us)
