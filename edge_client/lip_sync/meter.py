"""Continuous measurement of the skew between sound and face, in two ways.

Skew is PTS heard minus PTS shown, in µs: positive when sound is early, the sign of ITU-R BT.1359.
1. At each picture, at its display time: the renderer's part of the skew.
2. Every `HEARD_STEP_US` of heard time, against the picture displayed then: the skew that a viewer perceives, which includes a slow or
   frozen face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_client.audio.timeline import Position

HEARD_STEP_US = 10_000
"""Interval of the second measurement."""
ALARM_EARLY_US = 45_000
ALARM_LATE_US = -125_000
"""Limits beyond which people notice (ITU-R BT.1359)."""

LASTING_US = 100_000
"""Time beyond the limits that counts as an excursion: neither one late picture does, nor a display of few pictures a second."""
CALM_US = 1_000_000
"""Time within the limits that ends an excursion."""

_BIN_US = 100
_BINS = 10_001
_MAX_SERIES = 8_192


@dataclass(frozen=True, slots=True)
class SkewStats:
    """A distribution in milliseconds. `p50_ms` and `mean_ms` are signed; `p95_ms`, `p99_ms` and `max_abs_ms` are absolute values."""

    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_abs_ms: float = 0.0
    mean_ms: float = 0.0
    alarms: int = 0
    """Number of measurements beyond what people notice."""


@dataclass(frozen=True, slots=True)
class SkewPoint:
    """One measurement: its time, and the skew."""

    time_us: int
    skew_us: int


class SkewRecord:
    """A distribution and a series, both bounded: 0.1 ms bins to ±500 ms, and a series that is thinned as it grows."""

    def __init__(self) -> None:
        self._bins = np.zeros(_BINS, np.int64)
        self._sum_us = 0
        self._max_abs_us = 0
        self._alarms = 0
        self._series: list[SkewPoint] = []
        self._stride = 1
        self._count = 0

    def add(self, time_us: int, skew_us: int) -> None:
        """Record a measurement."""
        half = _BINS // 2
        self._bins[min(max(round(skew_us / _BIN_US), -half), half) + half] += 1
        self._sum_us += skew_us
        self._max_abs_us = max(self._max_abs_us, abs(skew_us))
        self._alarms += not ALARM_LATE_US <= skew_us <= ALARM_EARLY_US
        if self._count % self._stride == 0:
            self._series.append(SkewPoint(time_us, skew_us))
        self._count += 1
        if len(self._series) >= _MAX_SERIES:
            self._series = self._series[::2]
            self._stride *= 2

    @property
    def series(self) -> tuple[SkewPoint, ...]:
        """Measurements in order; all of them for the first minutes, then every second, fourth, … one."""
        return tuple(self._series)

    def stats(self) -> SkewStats:
        """The distribution so far."""
        if not self._count:
            return SkewStats()
        half = _BINS // 2
        sizes = self._bins[half:].copy()
        sizes[1:] += self._bins[half - 1 :: -1]
        largest_ms = self._max_abs_us / 1_000
        return SkewStats(
            count=self._count,
            p50_ms=(_quantile(self._bins, 0.5) - half) * _BIN_US / 1_000,
            p95_ms=min(largest_ms, _quantile(sizes, 0.95) * _BIN_US / 1_000),
            p99_ms=min(largest_ms, _quantile(sizes, 0.99) * _BIN_US / 1_000),
            max_abs_ms=largest_ms,
            mean_ms=self._sum_us / self._count / 1_000,
            alarms=self._alarms,
        )


class SkewMeter:
    """Measures one face against one sink. Not thread-safe."""

    def __init__(self) -> None:
        self.at_pictures = SkewRecord()
        self.at_heard = SkewRecord()
        self._on_glass: Position | None = None
        self._held_from: Position | None = None
        self.longest_hold_us = 0
        """The longest duration of sound that was heard while the face stayed at one PTS."""

    def picture(self, time_us: int, shown: Position | None, heard: Position | None) -> None:
        """Record a picture displayed at `time_us`; `shown` is the position of its pose, `heard` the one heard then.

        None means a face that motion does not drive, or silence.
        """
        self._note_hold(heard)
        if shown != self._on_glass:
            self._on_glass = shown
            self._held_from = heard
        skew_us = _skew(heard, shown)
        if skew_us is not None:
            self.at_pictures.add(time_us, skew_us)

    def heard(self, time_us: int, heard: Position | None) -> int | None:
        """Record what was heard at `time_us`; call it for every `HEARD_STEP_US`, in order with the pictures. Returns the skew."""
        skew_us = _skew(heard, self._on_glass)
        if skew_us is not None:
            self.at_heard.add(time_us, skew_us)
            self._note_hold(heard)
        return skew_us

    def _note_hold(self, heard: Position | None) -> None:
        held_us = _skew(heard, self._held_from)
        if held_us is not None and self._on_glass is not None:
            self.longest_hold_us = max(self.longest_hold_us, held_us)


class SkewAlarm:
    """Reports each excursion that people will notice, once. Not thread-safe.

    An excursion begins when the skew stays beyond what people notice for `LASTING_US`, and ends when it stayed within for `CALM_US`, or
    another conversation is heard.
    """

    def __init__(self) -> None:
        self._conversation_id = ""
        self._beyond_since_us: int | None = None
        self._within_since_us: int | None = None
        self._alarmed = False

    def heard(self, time_us: int, conversation_id: str, skew_us: int) -> bool:
        """Whether an excursion begins with this measurement; call it for every `HEARD_STEP_US`, in order."""
        if conversation_id != self._conversation_id:
            self._conversation_id = conversation_id
            self._alarmed = False
            self._beyond_since_us = self._within_since_us = None
        if ALARM_LATE_US <= skew_us <= ALARM_EARLY_US:
            self._beyond_since_us = None
            self._within_since_us = time_us if self._within_since_us is None else self._within_since_us
            self._alarmed = self._alarmed and time_us - self._within_since_us < CALM_US
            return False
        self._within_since_us = None
        self._beyond_since_us = time_us if self._beyond_since_us is None else self._beyond_since_us
        begins = not self._alarmed and time_us - self._beyond_since_us >= LASTING_US
        self._alarmed = self._alarmed or begins
        return begins


def _skew(heard: Position | None, shown: Position | None) -> int | None:
    if heard is None or shown is None or heard.conversation_id != shown.conversation_id:
        return None
    return heard.pts_us - shown.pts_us


def _quantile(bins: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> int:
    """The first bin at which the cumulative count reaches `share` of the total."""
    return int(np.searchsorted(np.cumsum(bins), share * bins.sum()))
