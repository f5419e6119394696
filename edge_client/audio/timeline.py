"""Which sample of which conversation a content frame is, and back.

The sink counts content frames; people count microseconds of a conversation. This is the one place where the two meet.
Segments are kept in the order of their frames; a seam between two conversations is a segment's end.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

_ROUNDING = 0.1
"""Frames that a position may be off, because it is in whole microseconds (up to 192 kHz)."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place on a conversation's media line."""

    conversation_id: str
    pts_us: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Content frames `start` to `end` are the conversation's samples from `pts_frame` on, at the sink's rate."""

    start: int
    end: int
    conversation_id: str
    pts_frame: int


class Timeline:
    """A map of content frames. Pruned by its user as playout goes on. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        """How many segments are kept."""
        return len(self._segments)

    def append(self, start: int, frames: int, conversation_id: str, pts_frame: int) -> None:
        """Content frames from `start` on are a conversation's samples from `pts_frame` on. Only forward."""
        last = self._segments[-1] if self._segments else None
        if last is not None and start < last.end:
            raise ValueError(f"content frame {start} is before the end of the timeline, {last.end}")
        if last is not None and _joins(last, start, conversation_id, pts_frame):
            self._segments[-1] = replace(last, end=start + frames)
        elif frames > 0:
            self._segments.append(Segment(start, start + frames, conversation_id, pts_frame))

    def at(self, frame: float) -> Position | None:
        """What is at a content frame.

        Behind a segment's last frame, where no other begins, its end holds: playout stands there. None before the first.
        """
        index = bisect_right(self._segments, frame, key=lambda segment: segment.start) - 1
        if index < 0:
            return None
        segment = self._segments[index]
        inside = min(frame, segment.end) - segment.start
        return Position(segment.conversation_id, round((segment.pts_frame + inside) * 1e6 / self._rate_hz))

    def frame_of(self, position: Position) -> float | None:
        """The content frame at which a position is heard (the last one, were there several); None if it is not on the line."""
        pts_frame = position.pts_us * self._rate_hz / 1e6
        for segment in reversed(self._segments):
            inside = pts_frame - segment.pts_frame
            if segment.conversation_id == position.conversation_id and -_ROUNDING <= inside < segment.end - segment.start:
                return segment.start + max(0.0, inside)
        return None

    def span(self, conversation_id: str) -> tuple[int, int] | None:
        """First content frame of a conversation and the one after its last, as far as they are on the line."""
        own = [segment for segment in self._segments if segment.conversation_id == conversation_id]
        return (own[0].start, own[-1].end) if own else None

    def truncate(self, frame: int) -> None:
        """Forget all from `frame` on: it will not be heard."""
        self._segments = [replace(segment, end=min(segment.end, frame)) for segment in self._segments if segment.start < frame]

    def prune(self, frame: float) -> None:
        """Forget the segments that end before `frame`, but keep the last one."""
        keep = [segment for segment in self._segments[:-1] if segment.end >= frame]
        self._segments = keep + self._segments[-1:]


def _joins(last: Segment, start: int, conversation_id: str, pts_frame: int) -> bool:
    follows = last.end == start and last.conversation_id == conversation_id
    return follows and last.pts_frame + (last.end - last.start) == pts_frame
