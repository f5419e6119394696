"""Which content frame is heard at a given time, from the sink's anchors.

Rules of the clock:
1. It runs at the rate of the last anchor, never beyond the anchor's limit: it stops in an underrun or a pause.
2. An anchor that differs by less than `STEP_US` moves it by `SLEW_SHARE` of the difference, which hides the jitter of a device's time
   stamps; a larger difference, or any after the clock has stopped, is applied at once.
3. For a reader it never goes back. Predictions are not remembered: one that was too far ahead does not delay later ones.
4. It is valid only after `SETTLE_ANCHORS` anchors: the first time stamps of some devices report no latency.
5. Sound that leaves the device is heard `offset_us` later (HDMI, a TV, Bluetooth): the sum of the setting's offset and the anchor's.
"""

from __future__ import annotations

from edge_client.audio.sink import Anchor

STEP_US = 5_000
SLEW_SHARE = 0.1
SETTLE_ANCHORS = 2


class PlayoutClock:
    """Follows one sink. Not thread-safe."""

    def __init__(self, *, output_offset_us: int = 0) -> None:
        self._own_offset_us = output_offset_us
        self._seen: Anchor | None = None
        self._base: Anchor | None = None
        self._anchors = 0

    @property
    def offset_us(self) -> int:
        """Delay of the sound beyond the reported one."""
        return self._own_offset_us + (self._seen.offset_us if self._seen is not None else 0)

    @property
    def settled(self) -> bool:
        """Whether the clock is valid."""
        return self._anchors >= SETTLE_ANCHORS

    def on_anchor(self, anchor: Anchor | None) -> None:
        """Apply an anchor of the sink; None, and a repeated or outdated anchor, change nothing."""
        if anchor is None or anchor == self._seen or (self._seen is not None and anchor.time_us < self._seen.time_us):
            return
        self._seen = anchor
        self._anchors += 1
        base = self._base
        if base is None or base.rate_hz <= 0 or anchor.rate_hz <= 0:
            self._base = anchor
            return
        expected = base.frame_at(anchor.time_us)
        error = anchor.frame - expected
        if abs(error) * 1e6 >= STEP_US * anchor.rate_hz:
            self._base = anchor
        else:
            self._base = Anchor(expected + error * SLEW_SHARE, anchor.time_us, anchor.rate_hz, anchor.limit_frame)

    def frame_at(self, now_us: int) -> float | None:
        """The content frame heard at `now_us`, by the last anchor; None until it is settled."""
        if self._base is None or not self.settled:
            return None
        return self._base.frame_at(now_us - self.offset_us)

    def time_of(self, frame: float) -> int | None:
        """When a content frame is or was heard, by the last anchor; None if the clock is stopped or not settled."""
        base = self._base
        if base is None or not self.settled or base.rate_hz <= 0:
            return None
        return base.time_us + round((frame - base.frame) * 1e6 / base.rate_hz) + self.offset_us


class ClockReader:
    """Reads a clock at times that are not in the future, and never sees it go back. Not thread-safe."""

    def __init__(self, clock: PlayoutClock) -> None:
        self._clock = clock
        self._last = 0.0

    def frame_at(self, now_us: int) -> float | None:
        """The content frame heard at `now_us`, never less than returned before; None until the clock is settled."""
        frame = self._clock.frame_at(now_us)
        if frame is None:
            return None
        self._last = max(self._last, frame)
        return self._last

    def predicted_at(self, time_us: int) -> float | None:
        """The content frame that will be heard at `time_us`, never less than the last `frame_at`; None until the clock is settled."""
        frame = self._clock.frame_at(time_us)
        return None if frame is None else max(self._last, frame)
