"""A render loop with a fake renderer and a fake clock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.audio.timeline import Position
from edge_client.face.answers import FaceAnswers
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.pictures import PictureObserver, RenderSummary, ShownPicture
from edge_client.face.render_loop import RenderLoop
from edge_client.face.renderer import Picture, Renderer, Wish
from edge_client.motion.pose import Pose, neutral_pose
from edge_client.playback.events import PlayerState, View

JAW = ARKIT_INDEX["jawOpen"]


class Clock:
    """A clock that advances only when an operation takes time."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now_us

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_us += max(1, round(seconds * 1e6))


class FakeRenderer:
    """Takes `cost_us` of the clock to draw each picture, and `show_us` to show it."""

    name = "fake"
    size = (4, 4)

    def __init__(self, clock: Clock, cost_us: int = 5_000) -> None:
        self.clock = clock
        self.cost_us = cost_us
        self.show_us = 0
        self.drawn: list[Pose] = []
        self.open_for = 10**9

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        self.drawn.append(pose)
        self.clock.now_us += self.cost_us

    def show(self) -> None:
        self.clock.now_us += self.show_us

    def read(self) -> Picture:
        return np.zeros((4, 4, 3), np.uint8)

    def poll(self) -> Wish:
        return Wish.NONE if len(self.drawn) < self.open_for else Wish.LEAVE

    def close(self) -> None:
        pass


class Speaking:
    """A player that is heard from 0 on; the pose shown is that of the audible PTS."""

    state = PlayerState.PLAYING

    def __init__(self, start_us: int = 1_000_000, held_at_us: int | None = None) -> None:
        self.start_us = start_us
        self.held_at_us = held_at_us
        self.asked: list[int] = []
        self.analysed = 0

    def view(self, now_us: int) -> View:
        self.asked.append(now_us)
        pts = now_us - self.start_us
        shown = pts if self.held_at_us is None else min(pts, self.held_at_us)
        return View(PlayerState.PLAYING, "c-1", pts, neutral_pose(), 1.0, shown)

    def audible(self, now_us: int) -> Position | None:
        return Position("c-1", now_us - self.start_us)

    def analyse_sound(self) -> None:
        self.analysed += 1


class Still:
    """No idle motion."""

    def pose(self, time_s: float) -> Pose:
        return neutral_pose()


class Stage(RenderLoop):
    """A loop with fixed replies."""

    answers: FaceAnswers

    def summary(self) -> RenderSummary:
        """The pictures shown."""
        return self.answers.summary()


def stage_of(
    clock: Clock, renderer: Renderer, scene: Speaking, shown: list[ShownPicture] | None = None, pictures_per_second: float = 25.0
) -> Stage:
    """A stage whose pictures are recorded in `shown`."""

    class Gather(PictureObserver):
        def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
            assert pixels is None
            if shown is not None:
                shown.append(picture)

    answers = FaceAnswers(scene, observers=(Gather(),))
    stage = Stage(
        source=answers,
        renderer=renderer,
        life=Still(),
        clock_us=clock,
        sleep_s=clock.sleep,
        pictures_per_second=pictures_per_second,
    )
    stage.answers = answers
    return stage


def after(renderer: FakeRenderer, pictures: int) -> Callable[[], bool]:
    """Stop after so many pictures."""
    return lambda: len(renderer.drawn) >= pictures
