"""When the screen sleeps and wakes."""

from __future__ import annotations

import ctypes
import time
from types import SimpleNamespace

import pytest

from edge_client.choices import read_hours
from edge_client.face.sleeping import NIGHT_US, ScreenSleep
from edge_client.local_clock import minute_of_day

S = 1_000_000
NIGHT = read_hours("22:00-07:00")


def test_by_time_without_speech() -> None:
    """A conversation wakes it, and it stays awake for the same time after it."""
    sleep = ScreenSleep(300 * S, None)
    told = [sleep.sleeps(is_busy=time_s in (400, 500), now_us=time_s * S, minute=None) for time_s in (0, 299, 300, 400, 500, 799, 800)]
    assert told == [False, False, True, False, False, False, True]


@pytest.mark.parametrize(("minute", "is_night"), [(21 * 60 + 59, False), (22 * 60, True), (0, True), (6 * 60 + 59, True), (7 * 60, False)])
def test_by_hours_over_midnight(minute: int, is_night: bool) -> None:
    """After a minute of quiet."""
    sleep = ScreenSleep(0, NIGHT)
    assert not sleep.sleeps(is_busy=False, now_us=5 * S, minute=minute)
    assert not sleep.sleeps(is_busy=False, now_us=5 * S + NIGHT_US - 1, minute=minute)
    assert sleep.sleeps(is_busy=False, now_us=5 * S + NIGHT_US, minute=minute) is is_night
    assert not sleep.sleeps(is_busy=True, now_us=5 * S + NIGHT_US, minute=minute)


def test_hours_wait_for_a_clock_that_is_right() -> None:
    """A board whose clock shows 1970 must not switch its screen off at noon."""
    sleep = ScreenSleep(0, NIGHT)
    assert not sleep.sleeps(is_busy=False, now_us=0, minute=None)
    assert not sleep.sleeps(is_busy=False, now_us=3_600 * S, minute=None)
    assert sleep.sleeps(is_busy=False, now_us=3_600 * S, minute=60)


def test_never_unless_asked() -> None:
    assert not ScreenSleep(0, None).sleeps(is_busy=False, now_us=10**12, minute=0)


@pytest.mark.parametrize("text", ["22-7", "24:00-07:00", "22:00-22:00", "22:00-07:60", "22:00 - 07:00"])
def test_hours_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM-HH:MM"):
        read_hours(text)


@pytest.mark.parametrize(("state", "minute"), [(0, 13 * 60 + 5), (1, 13 * 60 + 5), (5, None), (-1, None)])
def test_the_clock_is_believed_when_the_kernel_does_so(state: int, minute: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """States are those of adjtimex(2): 5 is TIME_ERROR; 1 announces a leap second."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(adjtimex=lambda timex: state))
    monkeypatch.setattr(time, "localtime", lambda: SimpleNamespace(tm_hour=13, tm_min=5))
    assert minute_of_day() == minute


def test_the_real_kernel_is_asked() -> None:
    """The real kernel is queried; any result is accepted."""
    assert minute_of_day() in [None, *range(24 * 60)]
