"""Maps content frames to the samples of conversations.

The sink counts content frames; conversations are measured in microseconds. Only this module converts between the two. Segments are kept in
the order of their frames; a boundary between two conversations is a segment's end. A segment represents as many samples of the media line
as it has frames, or a few more or fewer (steered against drift), or none (filler).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Position:
    """A position on a conversation's media line."""

    conversation_id: str
    pts_us: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Content frames `start` to `end` are the conversation's samples `pts_frame` to `pts_end`, at the sink's rate."""

    start: int
    end: int
    conversation_id: str
    pts_frame: int
    pts_end: int

    @property
    def is_even(self) -> bool:
        """Whether each frame is one sample."""
        return self.pts_end - self.pts_frame == self.end - self.start

    def pts_at(self, frame: float) -> float:
        """The sample at a frame; after the end, the end."""
        share = (min(frame, self.end) - self.start) / (self.end - self.start)
        return self.pts_frame + share * (self.pts_end - self.pts_frame)

    def until(self, frame: int) -> Segment:
        """The part of it before `frame`."""
        if frame >= self.end:
            return self
        return replace(self, end=frame, pts_end=round(self.pts_at(frame)))


class Timeline:
    """A map of content frames. Pruned by its user as playout advances. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        """The number of segments that are kept."""
        return len(self._segments)

    def append(self, start: int, frames: int, conversation_id: str, pts_frame: int, pts_frames: int | None = None) -> None:
        """Map content frames from `start` on to `pts_frames` samples of a conversation, by default one for each frame.

        Only forward.
        """
        last = self._segments[-1] if self._segments else None
        if last is not None and start < last.end:
            raise ValueError(f"content frame {start} is before the end of the timeline, {last.end}")
        if frames <= 0:
            return
        samples = frames if pts_frames is None else pts_frames
        segment = Segment(start, start + frames, conversation_id, pts_frame, pts_frame + samples)
        if last is not None and _joins(last, segment):
            self._segments[-1] = replace(last, end=segment.end, pts_end=segment.pts_end)
        else:
            self._segments.append(segment)

    def at(self, frame: float) -> Position | None:
        """The position at a content frame.

        After a segment's last frame, if no other begins, its end remains the position: playout is stopped there. None before the first.
        """
        index = bisect_right(self._segments, frame, key=lambda segment: segment.start) - 1
        if index < 0:
            return None
        segment = self._segments[index]
        return Position(segment.conversation_id, round(segment.pts_at(frame) * 1e6 / self._rate_hz))

    def span(self, conversation_id: str) -> tuple[int, int] | None:
        """First content frame of a conversation and the one after its last, as far as they are on the line."""
        own = [segment for segment in self._segments if segment.conversation_id == conversation_id]
        return (own[0].start, own[-1].end) if own else None

    def truncate(self, frame: int) -> None:
        """Discard all from `frame` on: it will not be heard."""
        self._segments = [segment.until(frame) for segment in self._segments if segment.start < frame]

    def prune(self, frame: float) -> None:
        """Discard the segments that end before `frame`, except the last one."""
        keep = [segment for segment in self._segments[:-1] if segment.end >= frame]
        self._segments = keep + self._segments[-1:]


def _joins(last: Segment, segment: Segment) -> bool:
    follows = last.end == segment.start and last.conversation_id == segment.conversation_id and last.pts_end == segment.pts_frame
    is_filler = last.pts_end == last.pts_frame and segment.pts_end == segment.pts_frame
    return follows and (is_filler or (last.is_even and segment.is_even))
