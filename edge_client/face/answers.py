"""The core's side of the face: answers what to show, measures the skew of each picture shown, and notifies the observers of pictures.

Needs no window, GL or SDL. It is the same whether the face is drawn in its own process or in this one.
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
"""Number of answers kept until the face reports that it has shown them."""


class ViewSource(Protocol):
    """Playback, as the face sees it. Called on the thread that answers."""

    def view(self, now_us: int) -> View:
        """Return what the face should show at `now_us`, a time in the near future. It may be earlier than in the previous call."""
        ...

    def audible(self, now_us: int) -> Position | None:
        """Return the position heard at `now_us`, a time in the past; None if no sound of a live conversation was heard."""
        ...

    def analyse_sound(self) -> None:
        """Analyse some of the sound that will move the mouth; called between pictures."""
        ...

    @property
    def state(self) -> PlayerState:
        """Current state of the player."""
        ...


class OverlaySource(Protocol):
    """Source of the overlays on the face."""

    def overlay(self, view: View, now_us: int) -> Overlay:
        """Return the overlay for the picture of `view`."""
        ...

    def toggle_figures(self) -> None:
        """Show the figures, or hide them, at a person's request."""
        ...


class NoOverlays:
    """An `OverlaySource` without overlays."""

    def overlay(self, view: View, now_us: int) -> Overlay:
        """Return the empty overlay."""
        return NOTHING

    def toggle_figures(self) -> None:
        """Do nothing."""


class FaceAnswers:
    """A `PictureSource`. Used by one thread, except `summary`, which any thread may call.

    Observers are notified of a picture after the question that follows it; they get no pixels.
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
        """Start serving a new face, whose question numbers begin at 1."""
        self._answered.clear()
        self._last = Question(0, 0, 0)

    def ask(self, question: Question) -> Answer:
        """See `PictureSource`. Observers are notified in `between_pictures`, so that no picture waits for them."""
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
        """Summarise all pictures so far, of all faces served."""
        seconds = 0.0 if self._first_us is None else (self._last_us - self._first_us) / 1e6
        return RenderSummary(self._shown, self._skipped, seconds)

    def _settle(self, question: Question) -> int | None:
        """Count the pictures before this question; return the PTS heard with the last one, if known."""
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
        """Return the PTS heard when the picture was on the screen; None unless its conversation is playing."""
        heard = self._playback.audible(shown_us)
        if heard is None or heard.conversation_id != view.conversation_id or self._playback.state is not PlayerState.PLAYING:
            return None
        return heard.pts_us
