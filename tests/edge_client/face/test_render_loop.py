"""The render loop with a fake clock, a fake player and a fake renderer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.audio.timeline import Position
from edge_client.face.answers import FaceAnswers, NoOverlays
from edge_client.face.attention import Attention
from edge_client.face.exchange import Answer, Question
from edge_client.face.overlay import DARK, NOTHING, Overlay
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.render_loop import (
    DARK_US,
    EASE_US,
    FIRST_LEAD_US,
    LEAST_PICTURES,
    RESTING_US,
    SHOWN_BEFORE_US,
    TIMED_PICTURES,
    RenderLoop,
    face_pose,
)
from edge_client.face.renderer import Picture
from edge_client.motion.pose import HEAD_ROTATION, Pose, neutral_pose
from edge_client.playback.events import PlayerState, View
from tests.edge_client.face.staged import JAW, Clock, FakeRenderer, Speaking, Stage, Still, after, stage_of


def test_pictures_are_on_the_grid_and_the_loop_sleeps_between() -> None:
    """25 a second: one every 40 ms, with sleep in between and none skipped."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock)
    stage = stage_of(clock, renderer, Speaking(), shown)
    stage.run(after(renderer, 50))
    gaps = [b.shown_time_us - a.shown_time_us for a, b in pairwise(shown)]
    first_held = LEAST_PICTURES - 1
    assert gaps.pop(first_held) == 2 * 40_000 - SHOWN_BEFORE_US - renderer.cost_us
    assert set(gaps) == {40_000}
    assert stage.summary().frames_skipped == 0


def test_a_picture_that_is_slower_than_usual_is_not_late() -> None:
    """It may take all the time until the next one is due."""
    chance = random.Random(1)
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock)
    stage = stage_of(clock, renderer, Speaking(), shown)
    for number in range(200):
        stage.run(after(renderer, number))
        renderer.cost_us = chance.randrange(2_000, 40_000 - SHOWN_BEFORE_US)
    assert {picture.skew_us for picture in shown[LEAST_PICTURES:]} == {0}


def test_pictures_are_shown_with_the_refresh_of_a_screen() -> None:
    """Showing waits for the next refresh, 50 a second: that is predicted too, at any phase."""
    for phase_us in range(0, 20_000, 1_111):
        clock, shown = Clock(), list[ShownPicture]()

        class Refreshed(FakeRenderer):
            def show(self) -> None:
                clock.now_us += -(clock.now_us - phase_us) % 20_000  # noqa: B023 (used within this round)

        renderer = Refreshed(clock)
        stage_of(clock, renderer, Speaking(), shown).run(after(renderer, 60))
        assert {picture.skew_us for picture in shown[2 * TIMED_PICTURES :]} == {0}


def test_the_player_is_asked_about_the_time_on_the_glass() -> None:
    """The lead follows the time for drawing and showing, so that the skew shown converges to zero."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock, cost_us=28_000)
    scene = Speaking()
    stage_of(clock, renderer, scene, shown).run(after(renderer, 80))
    assert scene.asked[0] == 1_000_000 + FIRST_LEAD_US
    assert shown[0].skew_us == 28_000 - FIRST_LEAD_US
    assert shown[-1].glass_time_us == shown[-1].shown_time_us
    assert shown[-1].skew_us == 0


class Resting(Speaking):
    """Nothing plays until `until_us`."""

    until_us = 1 << 60

    def view(self, now_us: int) -> View:
        return super().view(now_us) if now_us >= self.until_us else View(PlayerState.IDLE)


class Blinking:
    """Breathes, and blinks for a quarter of a second every two seconds."""

    def pose(self, time_s: float) -> Pose:
        pose = neutral_pose()
        pose[HEAD_ROTATION] = 0.03 * np.sin(time_s)
        pose[ARKIT_INDEX["eyeBlinkLeft"]] = np.sin(4 * np.pi * (time_s % 2)) if time_s % 2 < 0.25 else 0
        return pose


def resting_stage(clock: Clock, renderer: FakeRenderer, scene: Speaking, observers: Sequence[PictureObserver] = ()) -> Stage:
    """A face with idle motion and without observers, at 25 pictures a second."""
    answers = FaceAnswers(scene)
    stage = Stage(
        source=answers,
        renderer=renderer,
        life=Blinking(),
        clock_us=clock,
        sleep_s=clock.sleep,
        observers=observers,
        attention=Attention(),
        pictures_per_second=25.0,
    )
    stage.answers = answers
    return stage


def test_a_face_at_rest_is_drawn_rarely_but_for_blinks() -> None:
    """Ten pictures a second while there is breath only; every picture of a blink; none counts as skipped."""
    clock, scene = Clock(), Resting()
    renderer = FakeRenderer(clock)
    stage = resting_stage(clock, renderer, scene)
    stage.run(lambda: clock.now_us > 21_000_000)
    assert 10 * (7 + 1.75 * 10) <= len(renderer.drawn) <= 20 * 15
    blinks = sum(pose[ARKIT_INDEX["eyeBlinkLeft"]] > 0.05 for pose in renderer.drawn)
    assert blinks >= 10 * 4
    assert stage.answers.summary().frames_skipped == 0


def test_a_face_that_rests_has_all_pictures_as_soon_as_something_plays() -> None:
    """25 a second from the first one on."""
    clock, scene = Clock(), Resting()
    scene.until_us = 6_000_000
    renderer = FakeRenderer(clock)
    stage = resting_stage(clock, renderer, scene)
    stage.run(lambda: clock.now_us > scene.until_us + RESTING_US)
    before = len(renderer.drawn)
    stage.run(lambda: clock.now_us > scene.until_us + RESTING_US + 1_000_000)
    assert len(renderer.drawn) - before == 25


def test_a_face_that_is_looked_at_by_an_observer_never_rests() -> None:
    """A film has all pictures."""
    clock = Clock()
    renderer = FakeRenderer(clock)
    resting_stage(clock, renderer, Resting(), (PictureObserver(),)).run(lambda: clock.now_us > 2_000_000)
    assert len(renderer.drawn) >= 25


def test_a_held_pose_shows_as_skew() -> None:
    """Motion that stops while sound continues is skew, growing with each picture."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock)
    stage_of(clock, renderer, Speaking(held_at_us=100_000), shown).run(after(renderer, 10))
    skews = [picture.skew_us for picture in shown]
    assert skews[-1] is not None
    assert skews[-1] > 200_000


def test_pixels_are_read_before_showing_and_only_where_wanted() -> None:
    """A renderer may have to draw again after showing: so a requested picture is read back between drawing and showing."""
    clock, order = Clock(), list[str]()

    class Ordered(FakeRenderer):
        def read(self) -> Picture:
            order.append("read")
            return super().read()

        def show(self) -> None:
            order.append("show")
            super().show()

    class EverySecond(PictureObserver):
        def __init__(self) -> None:
            self.pixels: list[bool] = []
            self.asked = 0

        def wants(self, now_us: int) -> bool:
            self.asked += 1
            return self.asked % 2 == 0

        def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
            self.pixels.append(pixels is not None)

    watcher, renderer = EverySecond(), Ordered(clock)
    stage = RenderLoop(
        source=FaceAnswers(Speaking()), renderer=renderer, life=Still(), clock_us=clock, sleep_s=clock.sleep, observers=(watcher,)
    )
    stage.run(after(renderer, 4))
    assert order == ["show", "read", "show", "show", "read", "show"]
    assert watcher.pixels == [False, True, False, True]


def test_sound_is_analysed_between_pictures() -> None:
    """Once for each picture, after it: it delays neither the release of sound nor the picture."""
    clock = Clock()
    renderer, scene = FakeRenderer(clock, cost_us=4_000), Speaking()
    stage = stage_of(clock, renderer, scene)
    for pictures in range(1, 6):
        stage.picture()
        assert scene.analysed == pictures


def test_no_skew_without_sound() -> None:
    """While nothing is heard, another conversation is, or sound is stopped, there is nothing to compare."""

    class Changed(Speaking):
        def audible(self, now_us: int) -> Position | None:
            return Position("c-2", 1)

    class Silent(Speaking):
        def audible(self, now_us: int) -> Position | None:
            return None

    class Paused(Speaking):
        state = PlayerState.PAUSED

    for scene in (Changed(), Silent(), Paused()):
        clock, shown = Clock(), list[ShownPicture]()
        renderer = FakeRenderer(clock, cost_us=2 * FIRST_LEAD_US)
        stage_of(clock, renderer, scene, shown).run(after(renderer, 1))
        assert [picture.skew_us for picture in shown] == [None]


def test_a_closed_window_ends_the_loop() -> None:
    """A user's request is followed at once."""
    clock = Clock()
    renderer = FakeRenderer(clock)
    renderer.open_for = 3
    stage_of(clock, renderer, Speaking()).run(lambda: False)
    assert len(renderer.drawn) == 3


def test_being_told_to_stop_is_noticed_within_a_long_gap() -> None:
    """At one picture per second the loop still checks ten times."""
    clock = Clock()
    renderer = FakeRenderer(clock)
    stage = stage_of(clock, renderer, Speaking(), pictures_per_second=1.0)
    stage.run(lambda: clock.now_us > 1_300_000)
    assert clock.now_us < 1_450_000
    assert len(renderer.drawn) == 1


class Deaf(FaceAnswers):
    """Does not reply within a span of time."""

    silent_us = range(0)

    def ask(self, question: Question) -> Answer | None:  # type: ignore[override]
        """See `PictureSource`."""
        return None if question.start_time_us in self.silent_us else super().ask(question)


def test_a_screen_that_sleeps_costs_few_pictures_and_wakes_within_a_fifth_of_a_second() -> None:
    """The grid restarts when the face is visible again, and nothing counts as skipped."""

    class Asleep(NoOverlays):
        until_us = 3_000_000

        def overlay(self, view: View, now_us: int) -> Overlay:
            return DARK if now_us < self.until_us else NOTHING

    clock = Clock()
    renderer = FakeRenderer(clock)
    answers = FaceAnswers(Speaking(), overlays=Asleep())
    stage = RenderLoop(source=answers, renderer=renderer, life=Still(), clock_us=clock, sleep_s=clock.sleep, pictures_per_second=25.0)
    stage.run(lambda: clock.now_us >= Asleep.until_us - 20_000)
    assert len(renderer.drawn) == pytest.approx(10, abs=1)
    stage.run(lambda: clock.now_us >= Asleep.until_us + DARK_US + 1_000_000)
    assert len(renderer.drawn) == pytest.approx(10 + 28, abs=3)
    assert answers.summary().frames_skipped == 0


def test_without_an_answer_the_last_pose_eases_to_rest() -> None:
    """Idle motion continues at its rate; such pictures are counted, have no skew, and the next reply is used as usual."""

    class OpenMouth(Speaking):
        def view(self, now_us: int) -> View:
            pose = neutral_pose()
            pose[JAW] = 0.8
            return View(PlayerState.PLAYING, "c-1", now_us - self.start_us, pose, 1.0, now_us - self.start_us)

    clock, shown = Clock(), list[ShownPicture]()

    class Gather(PictureObserver):
        def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
            shown.append(picture)

    renderer, answers, watcher = FakeRenderer(clock), Deaf(OpenMouth()), Gather()
    stage = RenderLoop(source=answers, renderer=renderer, life=Still(), clock_us=clock, sleep_s=clock.sleep, observers=(watcher,))
    stage.run(after(renderer, 10))
    answers.silent_us = range(clock.now_us, clock.now_us + 500_000)
    stage.run(after(renderer, 30))
    jaws = [float(pose[JAW]) for pose in renderer.drawn]
    assert jaws[:10] == [np.float32(0.8)] * 10
    eased = jaws[10 : 10 + EASE_US // 33_333 + 1]
    assert eased == sorted(eased, reverse=True) and eased[-1] == 0
    assert 0 < eased[4] < 0.8
    assert jaws[-1] == np.float32(0.8)
    assert {picture.skew_us for picture in shown[10:20]} == {None}
    assert shown[-1].skew_us == 0
    assert answers.unanswered in (14, 15, 16)
    assert answers.summary().frames_shown == 30


def test_the_mouth_is_the_motions_and_the_head_moves_over_by_weight() -> None:
    """Half-way through, the mouth has the whole faded pose, the head half of it; without motion all is idle motion."""
    idle, speech = neutral_pose(), neutral_pose()
    idle[HEAD_ROTATION] = (0.0, 0.1, 0.0)
    speech[HEAD_ROTATION] = (0.0, 0.3, 0.0)
    speech[JAW] = 0.4
    half = face_pose(idle, View(PlayerState.PLAYING, "c", 1, speech, 0.5, 1))
    assert half[JAW] == np.float32(0.4)
    assert np.allclose(half[HEAD_ROTATION], (0.0, 0.2, 0.0))
    assert np.array_equal(face_pose(idle, View(PlayerState.IDLE)), idle)
    gone = face_pose(idle, View(PlayerState.PLAYING, "c", 1, neutral_pose(), 0.0, 1))
    assert np.allclose(gone, idle)
