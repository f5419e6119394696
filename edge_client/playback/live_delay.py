"""The delay of a `LIVE` conversation: its value, its target, and how playout is steered to the target.

The delay of a sample is the time from its earliest possible arrival, on the fastest path, until it is heard. Its target is the device's own
latency plus the largest lateness of the last minute plus a margin, at least `MIN_BUFFER_US` and at most `MAX_BUFFER_US`: no payload as late
as one of the last minute leaves a gap, and no stall delays a conversation for long.

Sound is owed if the delay grew because nothing of the conversation was heard: silence, filler, or a stopped device. Any debt left when
sound has been back for `LATE_WINDOW_US` is forgiven. Pauses never add to it.
"""

from __future__ import annotations

from edge_client.audio.drift import DriftControl, Steered
from edge_client.audio.lateness import Lateness
from edge_client.audio.playout_queue import Chunk

MIN_BUFFER_US = 40_000
MAX_BUFFER_US = 400_000
MARGIN_US = 35_000
"""Covers ticks, device blocks, and the filler that is added before sound runs dry."""

LATE_WINDOW_US = 500_000
_OWING_FROM_US = 10_000


class LiveDelay:
    """The delay of one conversation. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        self._lateness = Lateness()
        self._control = DriftControl()
        self._steered = Steered(rate_hz)
        self._usual_us: int | None = None
        self._seen: tuple[int, int] | None = None
        self._owing_us = 0

    @property
    def held_frames(self) -> int:
        """Frames held back by the resampler."""
        return self._steered.held_frames

    @property
    def ppm(self) -> float:
        """Playback speed relative to its clock, as a difference in ppm; positive is faster."""
        return self._control.ppm

    def arrived(self, now_us: int, pts_us: int) -> None:
        """Note the arrival of a payload that begins at `pts_us`."""
        self._lateness.note(now_us, pts_us)

    def target_us(self, latency_us: int) -> int:
        """The target delay on a device with the latency `latency_us`."""
        return latency_us + min(max(self._lateness.largest_us + MARGIN_US, MIN_BUFFER_US), MAX_BUFFER_US)

    def delay_us(self, heard_us: int, pts_us: int) -> int | None:
        """The delay of a sample that is heard at `heard_us`; None before the first payload."""
        base_us = self._lateness.base_us
        return None if base_us is None else heard_us - pts_us - base_us

    def owed_us(self, delay_us: int) -> int:
        """The part of a delay that was caused by time without sound."""
        return 0 if self._usual_us is None else delay_us - self._usual_us

    def heard(self, now_us: int, pts_us: int) -> None:
        """Note that `pts_us` is heard now, moving or not."""
        delay_us = self.delay_us(now_us, pts_us)
        if delay_us is None:
            return
        if self._seen is not None and pts_us > self._seen[1] and self.owed_us(delay_us) > _OWING_FROM_US:
            self._owing_us += now_us - self._seen[0]
        if self._usual_us is None or delay_us < self._usual_us or self._owing_us >= LATE_WINDOW_US:
            self._usual_us, self._owing_us = delay_us, 0
        self._seen = (now_us, pts_us)

    def steer(self, now_us: int, pts_us: int, latency_us: int) -> None:
        """Steer while sound plays; `pts_us` is heard now."""
        delay_us = self.delay_us(now_us, pts_us)
        if delay_us is not None:
            self._control.step(delay_us - self.target_us(latency_us), now_us)

    def stall(self) -> None:
        """Note that nothing is released, so that nothing can be steered."""
        self._control.rest()

    def pause(self) -> None:
        """Note that playout stopped because of a pause."""
        self._control.rest()
        self._usual_us = self._seen = None

    def process(self, chunks: list[Chunk]) -> list[Chunk]:
        """Resample sound to the steered rate."""
        return self._steered.process(chunks, self._control.ppm)

    def flush(self) -> list[Chunk]:
        """The frames held back by the resampler."""
        return self._steered.flush()
