"""The core's side of the face: answers what to show, works out the skew that there was, and tells all that look at the pictures.

It needs no window, no GL and no SDL, and is the same for a face that draws in a process of its own and one that draws in this.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from edge_client.audio.timeline import Position
from edge_client.face.exchange import Answer, Question
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.pictures import PictureObserver, RenderSummary, ShownPicture
from edge_client.playback.events import PlayerState, View

_KEPT = 8
"""Answers that are remembered until the face says that it has shown them."""


class ViewSource(Protocol):
    """Playback, as the face sees it. Called on the thread that answers."""

    def view(self, now_us: int) -> View:
        """What the face is to show at `now_us`, a time in the near future. It may be earlier than that of the last question."""
        ...

    def audible(self, now_us: int) -> Position | None:
        """What was heard at `now_us`, which is past; None for nothing of a live conversation."""
        ...

    def analyse_sound(self) -> None:
        """Analyse some of the sound that is to move the mouth; called between pictures."""
        ...

    @property
    def state(self) -> PlayerState:
        """What the player does now."""
        ...


class OverlaySource(Protocol):
    """What is written over the face."""

    def overlay(self, view: View, now_us: int) -> Overlay:
        """What is to be written over the picture of `view`."""
        ...

    def toggle_figures(self) -> None:
        """A person asked for the figures, or has seen enough of them."""
        ...


class NoOverlays:
    """Nothing is written over the face."""

    def overlay(self, view: View, now_us: int) -> Overlay:
        """Nothing."""
        return NOTHING

    def toggle_figures(self) -> None:
        """Nothing."""


class FaceAnswers:
    """A `PictureSource`. One thread; `summary` may be asked by others.

    Observers are told of a picture with the question that follows it; they get no pixels.
    """

    def __init__(self, playback: ViewSource, *, overlays: OverlaySource | None = None, observers: Sequence[PictureObserver] = ()) -> None:
        self._playback = playback
        self._overlays = overlays if overlays is not None else NoOverlays()
        self._observers = tuple(observers)
        self._answered: OrderedDict[int, tuple[int, View]] = OrderedDict()
        self._untold: list[ShownPicture] = []
        self._last = Question(0, 0, 0)
        self._shown = self._skipped = 0
        self._first_us: int | None = None
        self._last_us = 0
        self.unanswered = 0
        """Pictures that were drawn without an answer."""

    def begin(self) -> None:
        """A new face asks: its numbers begin at 1."""
        self._answered.clear()
        self._last = Question(0, 0, 0)

    def ask(self, question: Question) -> Answer:
        """See `PictureSource`. Observers are told in `between_pictures`, so that no picture waits for them."""
        heard_pts_us = self._settle(question)
        if question.figures_wanted:
            self._overlays.toggle_figures()
        view = self._playback.view(question.glass_time_us)
        self._answered[question.number] = (question.glass_time_us, view)
        if len(self._answered) > _KEPT:
            self._answered.popitem(last=False)
        return Answer(question.number, view, self._overlays.overlay(view, question.start_time_us), heard_pts_us)

    def between_pictures(self) -> None:
        """See `PictureSource`."""
        untold, self._untold = self._untold, []
        for picture in untold:
            for observer in self._observers:
                observer.shown(picture, None)
        self._playback.analyse_sound()

    def summary(self) -> RenderSummary:
        """All pictures so far, of all faces that asked."""
        seconds = 0.0 if self._first_us is None else (self._last_us - self._first_us) / 1e6
        return RenderSummary(self._shown, self._skipped, seconds)

    def _settle(self, question: Question) -> int | None:
        """Note what became of the pictures before this question; what was heard with the last one."""
        unanswered = max(0, question.unanswered - self._last.unanswered)
        self.unanswered += unanswered
        self._shown += unanswered
        self._skipped += max(0, question.skipped - self._last.skipped)
        self._last = question
        if question.shown_number is None:
            return None
        shown_us = question.shown_time_us
        self._shown += 1
        self._first_us = shown_us if self._first_us is None else self._first_us
        self._last_us = shown_us
        answered = self._answered.pop(question.shown_number, None)
        if answered is None:
            return None
        glass_us, view = answered
        picture = ShownPicture(shown_us, glass_us, view, self._heard_pts_us(view, shown_us))
        self._untold.append(picture)
        return picture.heard_pts_us

    def _heard_pts_us(self, view: View, shown_us: int) -> int | None:
        """The PTS heard when the picture was on the glass; None unless its conversation plays."""
        heard = self._playback.audible(shown_us)
        if heard is None or heard.conversation_id != view.conversation_id or self._playback.state is not PlayerState.PLAYING:
            return None
        return heard.pts_us
