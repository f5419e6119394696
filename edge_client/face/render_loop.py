"""The render loop: which pose, when, and how far from the sound it really was.

Rules of the loop
1. Pictures are due on a fixed grid. For each one the player is asked what will be heard when it is on the glass: now plus
   the lead, the median of what the last `LEAD_PICTURES` took to draw and show. One slow picture does not change it, also
   not at the start: fewer than `LEAST_PICTURES` say nothing yet. A machine that became slower or faster is followed within
   a few pictures. Pictures that are read back take longer, so they have a median of their own. The lead is never more than
   `LONGEST_LEAD_US`, and warm-up pictures do not count.
2. After showing, the player is asked what is heard now: a second question, which does not depend on the first. The answer
   minus the PTS of the pose shown is the skew.
3. A picture that is late is not made up for: the loop goes on with the next one on the grid, and counts what it skipped.
4. Between pictures the loop has some sound analysed for the mouth, then sleeps. It never waits for sound and sound never waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Protocol

from edge_client.audio.timeline import Position
from edge_client.face.attention import Attention, attentive
from edge_client.face.idle import MOUTH_INDEXES, combine
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.picture_stamp import stamp_of
from edge_client.face.renderer import Picture, Renderer, Wish
from edge_client.motion.pose import Pose
from edge_client.playback.events import PlayerState, View

FIRST_LEAD_US = 15_000
"""The lead until enough pictures were timed."""
LEAD_PICTURES = 7
LEAST_PICTURES = 3
"""The median of fewer could be a single slow one."""
LONGEST_LEAD_US = 120_000
"""A lead that turns out wrong puts pictures ahead of the sound by at most this: less than the 125 ms that people notice."""
LONGEST_SLEEP_S = 0.1
"""So that being told to stop is noticed."""

_MOUTH = list(MOUTH_INDEXES)


class ViewSource(Protocol):
    """Playback, as the loop sees it. Called on the loop's thread."""

    def view(self, now_us: int) -> View:
        """What the face is to show at `now_us`, a time in the near future. It may be earlier than that of the last question."""
        ...

    def audible(self, now_us: int) -> Position | None:
        """What is heard at `now_us`, the present; None for nothing of a live conversation."""
        ...

    def analyse_sound(self) -> None:
        """Analyse some of the sound that is to move the mouth; called between pictures."""
        ...

    @property
    def state(self) -> PlayerState:
        """What the player does now."""
        ...


class Life(Protocol):
    """What the face does by itself."""

    def pose(self, time_s: float) -> Pose:
        """The pose at a time in seconds."""
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


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """One picture, as it was. Times are readings of the monotonic clock in µs."""

    shown_time_us: int
    """When showing returned."""
    glass_time_us: int
    """When it was expected to be on the glass."""
    view: View
    """What the player said about that time."""
    heard_pts_us: int | None
    """The PTS heard at `shown_time_us`; None unless the conversation of `view` is playing then."""

    @property
    def skew_us(self) -> int | None:
        """PTS heard minus PTS shown: positive where the sound is early; None where nothing is said, or no motion shown."""
        if self.heard_pts_us is None or self.view.shown_pts_us is None:
            return None
        return self.heard_pts_us - self.view.shown_pts_us


class PictureObserver:
    """Is shown each picture. Quick: the next picture waits for it."""

    def wants(self, now_us: int) -> bool:
        """Whether the picture that is drawn now is to be read back for it, which costs some ms."""
        return False

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """A picture was shown; `pixels` is None unless an observer wanted them."""


@dataclass(frozen=True, slots=True)
class RenderSummary:
    """The loop so far."""

    frames_shown: int
    frames_skipped: int
    seconds: float
    """From the first picture to the last."""

    @property
    def frames_per_second(self) -> float:
        """Pictures shown each second, over all of the time."""
        return (self.frames_shown - 1) / self.seconds if self.seconds > 0 else 0.0


class RenderLoop:
    """Draws until told to stop. Lives on the renderer's thread."""

    def __init__(
        self,
        *,
        playback: ViewSource,
        renderer: Renderer,
        life: Life,
        clock_us: Callable[[], int],
        sleep_s: Callable[[float], None],
        observers: Sequence[PictureObserver] = (),
        overlays: OverlaySource | None = None,
        attention: Attention | None = None,
        pictures_per_second: float = 30.0,
        stamped: bool = False,
    ) -> None:
        """`stamped` writes the PTS shown into each picture, see `edge_client.face.picture_stamp`."""
        self._playback = playback
        self._renderer = renderer
        self._life = life
        self._clock_us = clock_us
        self._sleep_s = sleep_s
        self._observers = tuple(observers)
        self._overlays = overlays if overlays is not None else NoOverlays()
        self._attention = attention
        self._stamped = stamped
        self._interval_us = round(1e6 / pictures_per_second)
        self._took_us: dict[bool, deque[int]] = {is_read: deque(maxlen=LEAD_PICTURES) for is_read in (False, True)}
        self._due_us: int | None = None
        self._first_us = 0
        self._last_us = 0
        self._shown = 0
        self._skipped = 0

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Draw until `should_stop`, or until a person closes the window. Errors of the renderer come through."""
        while not should_stop() and (wish := self._renderer.poll()) is not Wish.LEAVE:
            if wish is Wish.FIGURES:
                self._overlays.toggle_figures()
            wait_s = self._wait_s()
            if wait_s > 0:
                self._sleep_s(min(wait_s, LONGEST_SLEEP_S))
            else:
                self.picture()

    def warm_up(self, *, is_read: bool) -> None:
        """Draw and show one picture before the loop, also read it back if `is_read`; its time is forgotten and nobody is told.

        The first pictures are the slow ones: shaders are compiled, fonts are loaded.
        """
        now_us = self._clock_us()
        self._draw(now_us, now_us + FIRST_LEAD_US, is_read=is_read)

    def picture(self) -> ShownPicture:
        """Draw and show one picture now, tell the observers, and put the next one on the grid."""
        start_us = self._clock_us()
        is_read = any([observer.wants(start_us) for observer in self._observers])
        glass_us = start_us + self._lead_us(is_read=is_read)
        view, pixels = self._draw(start_us, glass_us, is_read=is_read)
        shown_us = self._clock_us()
        self._took_us[is_read].append(shown_us - start_us)
        picture = ShownPicture(shown_us, glass_us, view, self._heard_pts_us(view, shown_us))
        for observer in self._observers:
            observer.shown(picture, pixels)
        self._playback.analyse_sound()
        self._count(start_us, shown_us)
        return picture

    def summary(self) -> RenderSummary:
        """The loop so far."""
        return RenderSummary(self._shown, self._skipped, (self._last_us - self._first_us) / 1e6)

    def _draw(self, start_us: int, glass_us: int, *, is_read: bool) -> tuple[View, Picture | None]:
        view = self._playback.view(glass_us)
        stamp = stamp_of(view.shown_pts_us) if self._stamped else None
        idle = self._life.pose(glass_us * 1e-6)
        if self._attention is not None:
            idle = attentive(idle, self._attention.level(view.state, start_us))
        self._renderer.draw(face_pose(idle, view), overlay=self._overlays.overlay(view, start_us), stamp=stamp)
        pixels = self._renderer.read() if is_read else None  # before showing: afterwards a renderer may have to draw it again
        self._renderer.show()
        return view, pixels

    def _lead_us(self, *, is_read: bool) -> int:
        """What a picture is expected to take: what those of its kind took, else those of the other, else a guess."""
        for took_us in (self._took_us[is_read], self._took_us[not is_read]):
            if len(took_us) >= LEAST_PICTURES:
                return min(median_low(took_us), LONGEST_LEAD_US)
        return FIRST_LEAD_US

    def _wait_s(self) -> float:
        return 0.0 if self._due_us is None else (self._due_us - self._clock_us()) / 1e6

    def _heard_pts_us(self, view: View, shown_us: int) -> int | None:
        """The PTS heard when the picture was on the glass; None unless its conversation plays."""
        heard = self._playback.audible(shown_us)
        if heard is None or heard.conversation_id != view.conversation_id or self._playback.state is not PlayerState.PLAYING:
            return None
        return heard.pts_us

    def _count(self, start_us: int, shown_us: int) -> None:
        self._first_us = self._first_us if self._shown else shown_us
        self._last_us = shown_us
        self._shown += 1
        due_us = (start_us if self._due_us is None else self._due_us) + self._interval_us
        late = max(0, (self._clock_us() - due_us) // self._interval_us)
        self._skipped += late
        self._due_us = due_us + late * self._interval_us


def face_pose(idle: Pose, view: View) -> Pose:
    """Idle life with as much of the motion's pose as the player says. A new pose.

    The motion's pose is faded already, so the mouth takes it as it is; the rest (head and gaze, which motion takes over
    whole) moves from the one to the other by the weight, so that nothing jumps when a conversation begins or ends.
    """
    if view.motion is None:
        return idle
    both = combine(idle, view.motion)
    pose: Pose = idle + (both - idle) * view.motion_weight
    pose[_MOUTH] = both[_MOUTH]
    return pose
