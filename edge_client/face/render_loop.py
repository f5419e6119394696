"""The render loop: which pose to draw, when, and the skew that it really had.

Rules of the loop
1. Pictures are due on a fixed grid. Each one is begun when it is due and shown just before the next one is due, so that it may take the
   whole interval without being late. The source is asked what will be heard when it is on the screen. If pictures take nearly as long
   as the interval, each is shown as soon as it is drawn, and the lead is the time they take.
   The time of drawing and showing is the median of the last `TIMED_PICTURES`. One slow picture does not change it, even
   at the start: fewer than `LEAST_PICTURES` are not used. A machine that becomes slower or faster is followed within
   a few pictures. Pictures that are read back take longer, so they have a median of their own. The lead is never more than
   `LONGEST_LEAD_US`, and warm-up pictures do not count.
2. The next question reports to the source when the picture was shown, and the answer has the PTS heard then: a second query,
   independent of the first. That PTS minus the PTS of the pose shown is the skew.
3. A late picture is not made up for: the loop continues with the next one on the grid, and counts the pictures skipped.
4. Between pictures the loop sleeps. It never waits for sound and sound never waits for it.
5. A source that does not answer in time stops no picture: the last pose eases to rest within `EASE_US`, and idle motion continues.
6. While the player is idle and nothing moves but breath and a drifting head, a picture is drawn only every `RESTING_US`. The source is
   asked at the full rate, so that the first picture of a conversation is not late. Blinks and glances have the full rate. Pictures that
   have `observers` here or are stamped always have it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median_low
from typing import Protocol

from edge_client.face.attention import Attention, attentive
from edge_client.face.exchange import Answer, PictureSource, Question
from edge_client.face.idle import MOUTH_INDEXES, combine
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.picture_stamp import stamp_of
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture, Renderer, Wish
from edge_client.motion.pose import Pose
from edge_client.playback.events import PlayerState, View

FIRST_LEAD_US = 15_000
"""The lead until enough pictures have been timed."""
TIMED_PICTURES = 7
LEAST_PICTURES = 3
"""The median of fewer could be a single slow picture."""
LONGEST_LEAD_US = 120_000
"""Bounds how far a wrong lead puts pictures ahead of the sound: less than the 125 ms that people notice."""
SHOWN_BEFORE_US = 2_000
"""Showing begins this long before the next picture is due."""
LONGEST_HOLD_US = 50_000
"""At lower frame rates each picture is shown as soon as it is drawn, so that the face does not start late."""
LONGEST_SLEEP_S = 0.1
"""Bounds the time until a request to stop is noticed."""
EASE_US = 300_000
RESTING_US = 100_000
STILL = 0.02
"""Movement below this within `RESTING_US`, in weights and radians, is breath and drift."""
DARK_US = 200_000
"""Interval between pictures while the screen sleeps; waking takes no longer."""

_MOUTH = list(MOUTH_INDEXES)
_NOBODY = Answer(0, View(PlayerState.IDLE))


class Life(Protocol):
    """The face's idle motion."""

    def pose(self, time_s: float) -> Pose:
        """Return the pose at a time in seconds."""
        ...


class RenderLoop:
    """Draws until asked to stop. Belongs to the renderer's thread."""

    def __init__(
        self,
        *,
        source: PictureSource,
        renderer: Renderer,
        life: Life,
        clock_us: Callable[[], int],
        sleep_s: Callable[[float], None],
        observers: Sequence[PictureObserver] = (),
        attention: Attention | None = None,
        pictures_per_second: float = 30.0,
        stamped: bool = False,
    ) -> None:
        """`stamped` writes the PTS shown into each picture, see `edge_client.face.picture_stamp`."""
        self._source = source
        self._renderer = renderer
        self._life = life
        self._clock_us = clock_us
        self._sleep_s = sleep_s
        self._observers = tuple(observers)
        self._attention = attention
        self._stamped = stamped
        self._interval_us = round(1e6 / pictures_per_second)
        self._drawing_us: dict[bool, deque[int]] = {is_read: deque(maxlen=TIMED_PICTURES) for is_read in (False, True)}
        self._showing_us: deque[int] = deque(maxlen=TIMED_PICTURES)
        self._due_us: int | None = None
        self._number = self._skipped = self._unanswered = 0
        self._figures_wanted = False
        self._attended = 0.0
        self._rests_until_us = 0
        """Time until which nothing needs to be drawn, as far as the face itself is concerned."""
        self._pending: tuple[int | None, ShownPicture, Picture | None] | None = None
        self._answer, self._answered_us = _NOBODY, 0

    def run(self, should_stop: Callable[[], bool]) -> Wish:
        """Draw until `should_stop` returns True or the window requests the end; returns the request. Errors of the renderer propagate."""
        wish = Wish.NONE
        while not should_stop() and (wish := self._renderer.poll()) not in (Wish.LEAVE, Wish.LOST):
            self._figures_wanted = self._figures_wanted != (wish is Wish.FIGURES)
            wait_s = self._wait_s()
            if wait_s > 0:
                self._sleep_s(min(wait_s, LONGEST_SLEEP_S))
            else:
                self.picture()
        if self._pending is not None:
            now_us = self._clock_us()
            self._tell(self._ask(now_us, now_us))
            self._source.between_pictures()
        return wish

    def warm_up(self, *, is_read: bool) -> None:
        """Draw and show one picture at rest before the loop, and read it back if `is_read`. It is neither timed nor reported to observers.

        The first pictures are the slow ones: shaders are compiled, fonts are loaded.
        """
        self._draw(_NOBODY.view, NOTHING, self._clock_us(), self._clock_us(), is_read=is_read)
        self._renderer.show()

    def picture(self) -> None:
        """Draw and show one picture now if needed, notify the observers of the previous one, and schedule the next one on the grid."""
        start_us = self._clock_us()
        is_read = any([observer.wants(start_us) for observer in self._observers])
        glass_us, hold_until_us = self._expected_us(start_us, is_read=is_read)
        before, answer = self._answer, self._ask(start_us, glass_us)
        view, overlay = (answer.view, answer.overlay) if answer is not None else self._eased(start_us)
        is_calm = view.state is PlayerState.IDLE and view.motion is None and before.overlay == overlay
        if is_calm and start_us < self._rests_until_us:
            self._tell(answer)
            self._source.between_pictures()
            self._put_on_grid(start_us, self._interval_us)
            return
        pixels = self._draw(view, overlay, start_us, glass_us, is_read=is_read)
        drawn_us = self._clock_us()
        if hold_until_us > drawn_us:
            self._sleep_s((hold_until_us - drawn_us) / 1e6)
        begun_us = self._clock_us()
        self._renderer.show()
        shown_us = self._clock_us()
        self._drawing_us[is_read].append(drawn_us - start_us)
        self._showing_us.append(shown_us - begun_us)
        self._tell(answer)
        self._pending = (self._number if answer is not None else None, ShownPicture(shown_us, glass_us, view, None), pixels)
        self._source.between_pictures()
        rests = is_calm and answer is not None and self._rests(glass_us)
        self._rests_until_us = start_us + RESTING_US - self._interval_us // 2 if rests else 0
        self._put_on_grid(start_us, max(DARK_US, self._interval_us) if self._answer.overlay.is_dark else self._interval_us)

    def _rests(self, glass_us: int) -> bool:
        """Whether nothing moves much within `RESTING_US` after a picture that was on the screen at `glass_us`."""
        if self._observers or self._stamped or self._attended:
            return False
        now, then = (self._life.pose(at_us * 1e-6) for at_us in (glass_us, glass_us + RESTING_US))
        return bool(abs(then - now).max() < STILL)

    def _ask(self, start_us: int, glass_us: int) -> Answer | None:
        self._number += 1
        shown, shown_us = (self._pending[0], self._pending[1].shown_time_us) if self._pending is not None else (None, 0)
        question = Question(self._number, start_us, glass_us, shown, shown_us, self._skipped, self._unanswered, self._figures_wanted)
        answer = self._source.ask(question)
        self._figures_wanted = False
        if answer is None:
            self._unanswered += 1
        else:
            self._answer, self._answered_us = answer, start_us
        return answer

    def _eased(self, now_us: int) -> tuple[View, Overlay]:
        """Return what to show without an answer: the last answer's pose, fading to rest."""
        last = self._answer.view
        rest = max(0.0, 1 - (now_us - self._answered_us) / EASE_US)
        if last.motion is None or rest == 0:
            return _NOBODY.view, self._answer.overlay
        return View(PlayerState.IDLE, None, None, last.motion * rest, last.motion_weight * rest), self._answer.overlay

    def _draw(self, view: View, overlay: Overlay, start_us: int, glass_us: int, *, is_read: bool) -> Picture | None:
        stamp = stamp_of(view.shown_pts_us) if self._stamped else None
        idle = self._life.pose(glass_us * 1e-6)
        if self._attention is not None:
            self._attended = self._attention.level(view.state, start_us)
            idle = attentive(idle, self._attended)
        self._renderer.draw(face_pose(idle, view), overlay=overlay, stamp=stamp)
        return self._renderer.read() if is_read else None  # before showing: afterwards a renderer may have to draw it again

    def _tell(self, answer: Answer | None) -> None:
        """Notify the observers of the previous picture, now that the PTS heard with it is known."""
        if self._pending is None:
            return
        _, picture, pixels = self._pending
        self._pending = None
        picture = replace(picture, heard_pts_us=answer.heard_pts_us if answer is not None else None)
        for observer in self._observers:
            observer.shown(picture, pixels)

    def _expected_us(self, start_us: int, *, is_read: bool) -> tuple[int, int]:
        """Return when a picture begun now will be on the screen, and until when to hold it back before showing."""
        drawing_us = self._drawing_time_us(is_read=is_read)
        if drawing_us is None:
            return start_us + FIRST_LEAD_US, start_us
        showing_us = median_low(self._showing_us)
        due_us = start_us if self._due_us is None else self._due_us
        show_us = due_us + self._interval_us - SHOWN_BEFORE_US
        if drawing_us + showing_us > self._interval_us - 2 * SHOWN_BEFORE_US or show_us - start_us > LONGEST_HOLD_US:
            return start_us + min(drawing_us + showing_us, LONGEST_LEAD_US), start_us
        return max(show_us, start_us + drawing_us) + showing_us, show_us

    def _drawing_time_us(self, *, is_read: bool) -> int | None:
        """Time to draw a picture: the median of its kind, else of the other kind; None if too few were timed."""
        return next(
            (median_low(timed) for timed in (self._drawing_us[is_read], self._drawing_us[not is_read]) if len(timed) >= LEAST_PICTURES),
            None,
        )

    def _wait_s(self) -> float:
        return 0.0 if self._due_us is None else (self._due_us - self._clock_us()) / 1e6

    def _put_on_grid(self, start_us: int, interval_us: int) -> None:
        due_us = (start_us if self._due_us is None else self._due_us) + interval_us
        late = max(0, (self._clock_us() - due_us) // interval_us)
        self._skipped += late
        self._due_us = due_us + late * interval_us


def face_pose(idle: Pose, view: View) -> Pose:
    """Return a new pose: idle motion mixed with the motion's pose, as the view specifies.

    The motion's pose is already faded, so the mouth uses it unchanged. Head and gaze, which motion controls entirely, are blended
    by the weight, so that nothing jumps when a conversation begins or ends.
    """
    if view.motion is None:
        return idle
    both = combine(idle, view.motion)
    pose: Pose = idle + (both - idle) * view.motion_weight
    pose[_MOUTH] = both[_MOUTH]
    return pose
