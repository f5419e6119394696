"""Computes the true skew between sound and face from the sound heard and the pictures seen. Pure.

Skew is PTS heard minus PTS shown, positive if the sound is early. It is measured in two ways, as in the client: for each picture when
it appeared on the screen, and every 10 ms of sound against the picture on the screen at that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEARD_STEP_US = 10_000
_NEXT_CONVERSATION_US = 500_000
"""A PTS that falls back by more than this belongs to the next conversation."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sounding:
    """A conversation (counted from 0) heard at `time_us` from `pts_us` on, for `duration_us` of its media timeline."""

    time_us: float
    conversation: int
    pts_us: float
    duration_us: float
    speed: float = 1.0
    """Media time per clock time: a device's crystal may be fast."""

    @property
    def end_us(self) -> float:
        """Time at which its last sample was heard."""
        return self.time_us + self.duration_us / self.speed


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture that appeared on the screen at `time_us` and shows the pose of `pts_us`; None if it shows no pose."""

    time_us: float
    pts_us: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture and its conversation; -1 if it shows no conversation's pose."""

    time_us: float
    conversation: int
    pts_us: int


@dataclass(frozen=True, slots=True)
class Figures:
    """A distribution in ms. `p50` is signed; the others are absolute values."""

    count: int
    p50: float
    p95: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True, slots=True)
class Skew:
    """Skew, measured in both ways. Times are in µs, skews in ms."""

    picture_times_us: Numbers
    at_pictures_ms: Numbers
    heard_times_us: Numbers
    at_heard_ms: Numbers
    picture_interval_ms: float
    longest_hold_ms: float


def shown_of(pictures: Sequence[Seen]) -> list[Shown]:
    """Assign pictures to conversations; a PTS that falls back starts the next one."""
    conversation, last_us = 0, 0
    shown: list[Shown] = []
    for picture in pictures:
        if picture.pts_us is None:
            shown.append(Shown(picture.time_us, -1, 0))
            continue
        if picture.pts_us < last_us - _NEXT_CONVERSATION_US:
            conversation += 1
        last_us = picture.pts_us
        shown.append(Shown(picture.time_us, conversation, picture.pts_us))
    return shown


def measure(soundings: Sequence[Sounding], shown: Sequence[Shown]) -> Skew:
    """Measure the skew of one run. Raises `ValueError` if nothing was heard or nothing was seen."""
    if not soundings or not any(picture.conversation >= 0 for picture in shown):
        raise ValueError("nothing was heard" if not soundings else "no picture with a pose was seen")
    times = np.array([picture.time_us for picture in shown])
    conversations = np.array([picture.conversation for picture in shown])
    pts = np.array([picture.pts_us for picture in shown], float)
    heard_conversation, heard_pts = heard_at(soundings, times)
    same = (heard_conversation == conversations) & (conversations >= 0)
    asked = np.concatenate([np.arange(s.time_us, s.end_us, HEARD_STEP_US) for s in soundings])
    asked_conversation, asked_pts = heard_at(soundings, asked)
    on_glass = np.searchsorted(times, asked, side="right") - 1
    known = (on_glass >= 0) & (conversations[on_glass] == asked_conversation) & (asked_conversation >= 0)
    intervals = np.diff(times)[(np.diff(conversations) == 0) & (conversations[1:] >= 0)]
    return Skew(
        picture_times_us=times[same],
        at_pictures_ms=(heard_pts - pts)[same] / 1e3,
        heard_times_us=asked[known],
        at_heard_ms=(asked_pts - pts[on_glass])[known] / 1e3,
        picture_interval_ms=float(np.median(intervals)) / 1e3 if len(intervals) else 0.0,
        longest_hold_ms=float(intervals.max()) / 1e3 if len(intervals) else 0.0,
    )


def heard_at(soundings: Sequence[Sounding], times: Numbers) -> tuple[NDArray[np.int64], Numbers]:
    """Conversation and PTS heard at each time; conversation -1 in silence."""
    starts = np.array([s.time_us for s in soundings])
    index = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
    speed = np.array([s.speed for s in soundings])[index]
    inside = (times - starts[index]) * speed
    is_heard = (inside >= 0) & (inside < np.array([s.duration_us for s in soundings])[index])
    conversation = np.where(is_heard, np.array([s.conversation for s in soundings])[index], -1)
    return conversation, np.array([s.pts_us for s in soundings])[index] + inside


def figures(values_ms: Numbers) -> Figures:
    """The distribution of signed values."""
    if not len(values_ms):
        return Figures(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    sizes = np.abs(values_ms)
    p95, p99, p999 = (float(value) for value in np.quantile(sizes, [0.95, 0.99, 0.999]))
    return Figures(len(sizes), float(np.median(values_ms)), p95, p99, p999, float(sizes.max()))


def agreement_ms(truth: Sequence[tuple[Shown, float]], told: Sequence[tuple[int, int, float]]) -> Numbers:
    """The client's reported skews minus the true ones, for pictures in both lists, in ms.

    `truth` has each picture seen with its skew in ms; `told` has (conversation, PTS in µs, skew in ms).
    """
    first_told: dict[tuple[int, int], float] = {}
    for conversation, pts_us, skew_ms in told:
        first_told.setdefault((conversation, pts_us), skew_ms)
    pairs = [
        (first_told[picture.conversation, picture.pts_us], skew_ms)
        for picture, skew_ms in truth
        if (picture.conversation, picture.pts_us) in first_told
    ]
    return np.array([client - seen for client, seen in pairs], float)
