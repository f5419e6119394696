"""The delay of a `LIVE` conversation: what it is, what it should be, and how playout is steered from one to the other.

The delay of a sample is the time from when it would have come on the fastest way to when it is heard. Its target is what
the device itself needs, and on top the largest lateness of the last minute with a margin, at least `MIN_BUFFER_US` and at
most `MAX_BUFFER_US`: no payload that is as late as one of the last minute leaves a gap, and no stall makes a talk slow.

Sound is owed where the delay grew because nothing of the conversation was heard: silence, filler, or a device that stood. What
is not paid when sound has been back for `LATE_WINDOW_US` is forgiven. What a pause takes is never owed.
"""

from __future__ import annotations

from edge_client.audio.drift import DriftControl, Steered
from edge_client.audio.lateness import Lateness
from edge_client.audio.playout_queue import Chunk

MIN_BUFFER_US = 40_000
MAX_BUFFER_US = 400_000
MARGIN_US = 35_000
"""Ticks, blocks of the device, and what is filled in before sound runs dry all take their time."""

LATE_WINDOW_US = 500_000
_OWING_FROM_US = 10_000


class LiveDelay:
    """One conversation's. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        self._lateness = Lateness()
        self._control = DriftControl()
        self._steered = Steered(rate_hz)
        self._usual_us: int | None = None
        self._seen: tuple[int, int] | None = None
        self._owing_us = 0

    @property
    def held_frames(self) -> int:
        """Frames that the resampler holds back."""
        return self._steered.held_frames

    @property
    def ppm(self) -> float:
        """How much faster than its clock sound is played."""
        return self._control.ppm

    def arrived(self, now_us: int, pts_us: int) -> None:
        """A payload that begins at `pts_us` came."""
        self._lateness.note(now_us, pts_us)

    def target_us(self, latency_us: int) -> int:
        """What the delay should be on a device that takes `latency_us`."""
        return latency_us + min(max(self._lateness.largest_us + MARGIN_US, MIN_BUFFER_US), MAX_BUFFER_US)

    def delay_us(self, heard_us: int, pts_us: int) -> int | None:
        """The delay of a sample that is heard at `heard_us`; None before the first payload."""
        base_us = self._lateness.base_us
        return None if base_us is None else heard_us - pts_us - base_us

    def owed_us(self, delay_us: int) -> int:
        """How much of a delay is there because time went by without sound."""
        return 0 if self._usual_us is None else delay_us - self._usual_us

    def heard(self, now_us: int, pts_us: int) -> None:
        """`pts_us` is heard now, or stands."""
        delay_us = self.delay_us(now_us, pts_us)
        if delay_us is None:
            return
        if self._seen is not None and pts_us > self._seen[1] and self.owed_us(delay_us) > _OWING_FROM_US:
            self._owing_us += now_us - self._seen[0]
        if self._usual_us is None or delay_us < self._usual_us or self._owing_us >= LATE_WINDOW_US:
            self._usual_us, self._owing_us = delay_us, 0
        self._seen = (now_us, pts_us)

    def steer(self, now_us: int, pts_us: int, latency_us: int) -> None:
        """Sound goes on, and `pts_us` is heard now."""
        delay_us = self.delay_us(now_us, pts_us)
        if delay_us is not None:
            self._control.step(delay_us - self.target_us(latency_us), now_us)

    def stall(self) -> None:
        """Nothing is released: nothing can be steered."""
        self._control.rest()

    def pause(self) -> None:
        """Playout stands because it was told to."""
        self._control.rest()
        self._usual_us = self._seen = None

    def process(self, chunks: list[Chunk]) -> list[Chunk]:
        """Sound at the rate that is steered."""
        return self._steered.process(chunks, self._control.ppm)

    def flush(self) -> list[Chunk]:
        """What the resampler holds back."""
        return self._steered.flush()
