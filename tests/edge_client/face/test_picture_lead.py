"""The lead of pictures over their time on the screen: it follows the renderer, and no slow picture shifts it."""

from __future__ import annotations

from edge_client.face.answers import FaceAnswers
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.render_loop import FIRST_LEAD_US, LEAST_PICTURES, LONGEST_LEAD_US, RenderLoop
from edge_client.face.renderer import Picture
from tests.edge_client.face.staged import Clock, FakeRenderer, Speaking, Still, after, stage_of


def test_a_picture_before_its_time_shows_as_skew_too() -> None:
    """On the screen sooner than expected, the pose is ahead of the sound: negative."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock, cost_us=4_000)
    stage_of(clock, renderer, Speaking(), shown).run(after(renderer, 1))
    assert shown[0].skew_us == 4_000 - FIRST_LEAD_US


def test_a_slow_picture_does_not_shift_those_after_it() -> None:
    """A stall of one second does not affect the prediction; late pictures are skipped and the grid is kept."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock)
    stage = stage_of(clock, renderer, Speaking(), shown)
    stage.run(after(renderer, 40))
    renderer.cost_us = 1_000_000
    stage.run(after(renderer, 41))
    renderer.cost_us = 5_000
    stage.run(after(renderer, 45))
    assert [picture.skew_us for picture in shown[41:]] == [0, 0, 0, 0]
    assert stage.summary().frames_skipped == 24
    assert (shown[44].shown_time_us - shown[39].shown_time_us) % 40_000 == 0


def test_a_machine_that_became_slower_is_followed_within_four_pictures() -> None:
    """Of seven pictures the fourth slow one is the median; until then they are shown as soon as they are drawn, which is late."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock)
    stage = stage_of(clock, renderer, Speaking(), shown)
    stage.run(after(renderer, 20))
    renderer.cost_us = 60_000
    stage.run(after(renderer, 30))
    skews = [picture.skew_us or 0 for picture in shown[20:]]
    assert all(skew >= 60_000 - 38_000 for skew in skews[:4])
    assert skews[4:] == [0] * 6


def test_a_slow_picture_at_any_place_does_not_shift_later_ones() -> None:
    """300 ms for the first, the second, … the tenth picture: the next one is at the same time as without it, and so on."""
    for place in range(10):
        clock, shown = Clock(), list[ShownPicture]()
        renderer = FakeRenderer(clock, cost_us=FIRST_LEAD_US)
        stage = stage_of(clock, renderer, Speaking(), shown)
        stage.run(after(renderer, place))
        renderer.cost_us = 300_000
        stage.run(after(renderer, place + 1))
        renderer.cost_us = FIRST_LEAD_US
        stage.run(after(renderer, 20))
        assert [picture.skew_us for picture in shown[place + 1 :]] == [0] * (19 - place)


def test_warm_up_is_forgotten() -> None:
    """A second of compiling shaders: not in the lead, the count or the grid, and not reported to observers."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock, cost_us=1_000_000)
    stage = stage_of(clock, renderer, Speaking(), shown)
    for _ in range(LEAST_PICTURES):
        stage.warm_up(is_read=False)
    assert shown == []
    renderer.cost_us = 4_000
    stage.run(after(renderer, LEAST_PICTURES + 10))
    assert [picture.skew_us for picture in shown] == [4_000 - FIRST_LEAD_US] * LEAST_PICTURES + [0] * (10 - LEAST_PICTURES)
    assert stage.summary().frames_shown == 10
    assert stage.summary().frames_skipped == 0


def test_the_lead_is_bounded() -> None:
    """Consecutive slow pictures change the prediction, up to an error that would be noticed if they were fast after all."""
    clock, shown = Clock(), list[ShownPicture]()
    renderer = FakeRenderer(clock, cost_us=700_000)
    scene = Speaking()
    stage = stage_of(clock, renderer, scene, shown)
    stage.run(after(renderer, 10))
    renderer.cost_us = 5_000
    stage.run(after(renderer, 16))
    leads = [picture.glass_time_us - (picture.shown_time_us - 5_000) for picture in shown[10:]]
    assert leads == [LONGEST_LEAD_US] * 4 + [5_000] * 2
    assert [picture.skew_us for picture in shown[14:]] == [0, 0]


def test_a_renderer_that_is_always_too_slow_shows_what_it_can() -> None:
    """At 60 ms a picture, 25 a second are impossible: every second picture is left out, and sound is not delayed."""
    clock = Clock()
    renderer = FakeRenderer(clock, cost_us=60_000)
    stage = stage_of(clock, renderer, Speaking())
    stage.run(after(renderer, 20))
    summary = stage.summary()
    assert 12 < summary.frames_per_second < 17
    assert summary.frames_skipped > 5


def test_pictures_that_are_read_have_a_lead_of_their_own() -> None:
    """Reading back takes 9 ms here, for every second picture: neither kind shows skew."""
    clock, shown = Clock(), list[ShownPicture]()

    class SlowToRead(FakeRenderer):
        def read(self) -> Picture:
            clock.now_us += 9_000
            return super().read()

    class EverySecond(PictureObserver):
        asked = 0

        def wants(self, now_us: int) -> bool:
            self.asked += 1
            return self.asked % 2 == 0

        def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
            shown.append(picture)

    renderer = SlowToRead(clock)
    stage = RenderLoop(
        source=FaceAnswers(Speaking()), renderer=renderer, life=Still(), clock_us=clock, sleep_s=clock.sleep, observers=(EverySecond(),)
    )
    stage.run(after(renderer, 20))
    assert [picture.skew_us for picture in shown[6:]] == [0] * 14
