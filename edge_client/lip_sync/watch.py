"""Measures lip-sync at each picture, and reports the results."""

from __future__ import annotations

from collections.abc import Callable

from edge_client.audio.timeline import Position
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.lip_sync.meter import HEARD_STEP_US, SkewAlarm, SkewMeter


def _nobody(*_: object) -> None:
    """Ignore the measurement."""


class SkewWatch(PictureObserver):
    """Feeds a `SkewMeter` with the pictures shown.

    What was heard between two pictures is interpolated from what was heard at each of them, so the meter's second measurement (every 10 ms
    of heard time, against the picture displayed then) needs no thread of its own.
    """

    def __init__(self, *, on_heard: Callable[[int], None] = _nobody, on_alarm: Callable[[str, int, int], None] = _nobody) -> None:
        """`on_heard(skew_us)` is called with each result of the second measurement.

        `on_alarm(conversation_id, time_us, skew_us)` is called once for each excursion that people will notice.
        """
        self.meter = SkewMeter()
        self._alarm = SkewAlarm()
        self._on_heard = on_heard
        self._on_alarm = on_alarm
        self._last: tuple[int, Position] | None = None

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Measure a picture."""
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
            self._hear(time_us, Position(heard.conversation_id, pts_us))

    def _hear(self, time_us: int, heard: Position) -> None:
        skew_us = self.meter.heard(time_us, heard)
        if skew_us is None:
            return
        self._on_heard(skew_us)
        if self._alarm.heard(time_us, heard.conversation_id, skew_us):
            self._on_alarm(heard.conversation_id, time_us, skew_us)
