"""Lip-sync as measured from a stage's pictures, and its alarm."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.face.pictures import ShownPicture
from edge_client.lip_sync.meter import ALARM_EARLY_US, ALARM_LATE_US, CALM_US, HEARD_STEP_US, LASTING_US, SkewAlarm
from edge_client.lip_sync.watch import SkewWatch
from edge_client.motion.pose import neutral_pose
from edge_client.playback.events import PlayerState, View

PICTURE_US = 33_000


@dataclass
class Bench:
    """A watch, the pictures passed to it, and its alarms."""

    heard: list[int] = field(default_factory=list)
    alarms: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = SkewWatch(on_heard=self.heard.append, on_alarm=lambda *alarm: self.alarms.append(alarm))

    def show(self, time_us: int, *, skew_us: int = 0, conversation_id: str = "c-1") -> None:
        """A picture in a conversation whose sound is heard since 0."""
        view = View(PlayerState.PLAYING, conversation_id, time_us, neutral_pose(), 1.0, time_us - skew_us)
        self.watch.shown(ShownPicture(time_us, time_us, view, time_us), None)


def test_a_face_that_stands_is_seen_between_pictures_too() -> None:
    """One picture is shown for half a second of sound: the hold is that long, and the visible skew grows meanwhile."""
    bench = Bench()
    for time_us in (0, 33_000, 533_000):
        bench.show(time_us)
    meter = bench.watch.meter
    assert meter.at_pictures.stats().max_abs_ms == 0
    assert meter.at_heard.stats().max_abs_ms == pytest.approx(490, abs=11)
    assert meter.longest_hold_us == pytest.approx(490_000, abs=11_000)
    assert len(bench.heard) == meter.at_heard.stats().count


def test_conversations_are_not_compared_with_each_other() -> None:
    """From the end of one conversation to the beginning of the next there is no skew."""
    bench = Bench()
    bench.show(9_000_000)
    bench.show(9_033_000, conversation_id="c-2")
    assert bench.heard == []
    assert bench.watch.meter.at_pictures.stats().max_abs_ms == 0


def test_each_excursion_is_told_once() -> None:
    """Sound early by 80 ms for a second, then in sync for two, then late by 150 ms: two alarms, with conversation, time and size."""
    bench = Bench()
    for number in range(120):
        second = number * PICTURE_US / 1e6
        bench.show(number * PICTURE_US, skew_us=80_000 if second < 1 else 0 if second < 3 else -200_000)
    (first, second_alarm) = bench.alarms
    assert first[0] == "c-1"
    assert LASTING_US <= first[1] < LASTING_US + 2 * PICTURE_US
    assert first[2] > ALARM_EARLY_US
    assert second_alarm[1] == pytest.approx(3_000_000 + LASTING_US, abs=2 * PICTURE_US)
    assert second_alarm[2] < ALARM_LATE_US


def test_few_pictures_a_second_are_no_alarm() -> None:
    """At 15 pictures a second each one is 66 ms old before the next: that is not a sync error."""
    bench = Bench()
    for number in range(60):
        bench.show(number * 66_000)
    assert max(bench.heard) > ALARM_EARLY_US
    assert bench.alarms == []


@given(st.lists(st.integers(-300_000, 300_000), max_size=300))
def test_alarms_need_lasting_skew_and_calm_in_between(skews: list[int]) -> None:
    """Before each alarm all measurements of `LASTING_US` are out of bounds; between two alarms there is `CALM_US` in sync."""
    alarm = SkewAlarm()
    steps = LASTING_US // HEARD_STEP_US
    beyond = [not ALARM_LATE_US <= skew <= ALARM_EARLY_US for skew in skews]
    last = None
    for number, skew in enumerate(skews):
        if not alarm.heard(number * HEARD_STEP_US, "c", skew):
            continue
        assert all(beyond[number - steps : number + 1])
        if last is not None:
            calm = "".join("x" if bad else "." for bad in beyond[last:number])
            assert "." * (CALM_US // HEARD_STEP_US) in calm
        last = number
