"""The engine's side of the sink: releases samples, tracks what was heard, and removes a conversation from the sink.

Threads. `pull` is called from the sink's thread and guarded by `lock`, which is held only for copies. The sink is never called with `lock`
held: a sink pulls under its own lock. All other methods belong to the engine.

Cutting takes three steps: samples are withdrawn and `pull` returns nothing; the sink is cleared and reports what was heard; samples of
other conversations are put back in front, and `pull` resumes. Nothing stale is heard, and nothing of another conversation is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_client.audio.playout_clock import ClockReader, PlayoutClock
from edge_client.audio.playout_queue import Chunk, PlayoutQueue
from edge_client.audio.sink import AudioSink, Pcm
from edge_client.audio.timeline import Position

_USUAL_LATENCY_US = 20_000
_MAX_LATENCY_US = 150_000
"""A larger latency is that of a device being opened."""
_REMEMBERED_LATENCIES = 8


@dataclass(frozen=True, slots=True)
class Ahead:
    """Samples released and not heard yet."""

    queued_frames: int
    """Released, and not pulled yet."""
    unheard_frames: int
    """Released, and not heard yet."""
    latency_us: int
    """Time from release until heard, with nothing queued before it."""
    buffer_us: int
    """The part of it before the output offset: the sound device's buffer, which it may fill at once."""


class Playout:
    """Drives one sink."""

    def __init__(self, sink: AudioSink, lock: threading.Lock, *, output_offset_us: int) -> None:
        self.rate_hz = sink.rate_hz
        self.sink = sink
        self.queue = PlayoutQueue(sink.rate_hz)
        self._lock = lock
        self.clock = PlayoutClock(output_offset_us=output_offset_us)
        """Guarded by `lock`, like the queue."""
        self._reader = ClockReader(self.clock)
        self._held_empty = False
        self._expecting = False
        self._paused = False
        self._cleared_frames = 0
        self._last_clear = (0, 0)
        self._latencies: deque[int] = deque(maxlen=_REMEMBERED_LATENCIES)
        self._probe: tuple[int, int] | None = None
        self._now_us = 0
        self.heard = 0.0
        """The content frame heard at the last `listen`."""

    def pull(self, frames: int) -> Pcm:
        """At most `frames` frames that are due."""
        with self._lock:
            return np.zeros(0, np.int16) if self._held_empty else self.queue.pull(frames)

    def listen(self, now_us: int) -> None:
        """Query the sink's position."""
        anchor = self.sink.anchor()
        with self._lock:
            self.clock.on_anchor(anchor)
            heard = self._reader.frame_at(now_us)
        self._now_us = now_us
        if heard is not None:
            self.heard = heard
            self._measure_latency()

    def forget_heard(self) -> None:
        """Discard samples that were heard."""
        with self._lock:
            self.queue.heard_to(self.heard)

    def time_of(self, frame: float, now_us: int) -> int:
        """When a content frame was heard; `now_us` while the clock is stopped."""
        with self._lock:
            time_us = self.clock.time_of(frame)
        return now_us if time_us is None else time_us

    def position(self) -> Position | None:
        """The position that is heard."""
        with self._lock:
            return self.queue.timeline.at(self.heard)

    def span(self, conversation_id: str) -> tuple[int, int] | None:
        """The content frames pulled of a conversation, as far as they are still known."""
        with self._lock:
            return self.queue.timeline.span(conversation_id)

    def holds(self, conversation_id: str) -> bool:
        """Whether released samples of a conversation wait to be pulled."""
        with self._lock:
            return self.queue.holds(conversation_id)

    @property
    def queued_frames(self) -> int:
        """Released frames that wait to be pulled."""
        with self._lock:
            return self.queue.queued_frames

    @property
    def ahead(self) -> Ahead:
        """Samples released and not heard yet."""
        with self._lock:
            queued = self.queue.queued_frames
            latency_us = self._latency_us()
            unheard = max(0, queued + self.queue.pulled_to - int(self.heard))
            return Ahead(queued, unheard, latency_us, latency_us - max(0, self.clock.offset_us))

    @property
    def is_dry(self) -> bool:
        """Whether all released samples were heard."""
        with self._lock:
            return self.queue.queued_frames == 0 and self.heard >= self.queue.pulled_to - 0.5

    def release(self, chunks: list[Chunk]) -> None:
        """Release samples to the sink. It then expects content, which also wakes it; call `expect` afterwards if no more is due."""
        if self.is_dry:
            self._probe = (self.queue.pulled_to, self._now_us)
        with self._lock:
            for chunk in chunks:
                self.queue.push(chunk)
        self._expecting = True
        self.sink.expect(True)

    def expect(self, expected: bool) -> None:
        """Notify the sink whether content is due."""
        if expected != self._expecting:
            self._expecting = expected
            self.sink.expect(expected)

    def set_paused(self, paused: bool) -> None:
        """Pause or resume the sink."""
        if paused != self._paused:
            self._paused = paused
            self._probe = None
            if paused:
                self.sink.pause()
            else:
                self.sink.resume()

    def cut(self, conversation_ids: frozenset[str]) -> dict[str, int]:
        """Remove conversations; returns the PTS up to which each was heard, in µs, for those whose sound was reached."""
        with self._lock:
            self._held_empty = self.queue.withdraw(conversation_ids)
            reaches_sink = self._held_empty
        self.expect(False)
        self._probe = None
        heard = self.sink.clear() if reaches_sink else max(int(self.heard), self._last_clear[0])
        with self._lock:
            positions = self._positions(conversation_ids, heard)
            if reaches_sink:
                self._count_cleared(heard)
                self.queue.rewind(heard, conversation_ids)
            self._held_empty = False
        return positions

    def played_frames(self) -> int:
        """Content frames heard since the start; frames cleared before they were heard do not count."""
        before, resumed_at = self._last_clear
        if self.heard < resumed_at:
            return int(min(self.heard, before)) - self._cleared_frames + (resumed_at - before)
        return int(self.heard) - self._cleared_frames

    def _measure_latency(self) -> None:
        """Measure the device's latency from sound released into silence, when it is heard."""
        if self._probe is None or self.heard <= self._probe[0]:
            return
        frame, released_us = self._probe
        self._probe = None
        self._latencies.append(self.time_of(frame, self._now_us) - released_us)

    def _latency_us(self) -> int:
        """The smallest of the last measurements: the others include waiting for a block, or for a device that was reopened."""
        offset_us = self.clock.offset_us
        least_us = min(self._latencies, default=_USUAL_LATENCY_US + offset_us)
        return min(max(least_us, 0), _MAX_LATENCY_US + max(0, offset_us))

    def _positions(self, conversation_ids: frozenset[str], heard: int) -> dict[str, int]:
        positions = {}
        for conversation_id in conversation_ids:
            span = self.queue.timeline.span(conversation_id)
            if span is not None and heard > span[0]:
                inside = self.queue.timeline.at(min(heard, span[1]) - 1)
                if inside is not None and inside.conversation_id == conversation_id:
                    positions[conversation_id] = inside.pts_us
        return positions

    def _count_cleared(self, heard: int) -> None:
        self._cleared_frames += self.queue.pulled_to - heard
        self._last_clear = (heard, self.queue.pulled_to)
