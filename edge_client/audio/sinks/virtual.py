"""A virtual sound device: it runs in real time, pulls, fades, pauses and counts like a real one, and has a tap for its output.

Rules of the device:
1. It plays one block each period, on a fixed grid of times; a late thread plays the overdue blocks, with the times at which they were due.
2. Before a block it pulls until `AHEAD_PERIODS` periods are held; pulling and clearing exclude each other, so that nothing pulled after a
   clear is lost, and nothing pulled before it is heard.
3. A block without enough content is filled with silence. While content is expected that is an underrun, counted once until content arrives
   again.
4. Clear and pause take effect with the next block and fade within it.
5. While no content is expected, and no tap needs the silence, only every `RESTING_PERIODS`th block is played.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from edge_client.audio.gain import GainRamp, ramp_frames
from edge_client.audio.sink import Anchor, AudioFeed, Pcm, SinkCounters

PERIOD_US = 10_000
"""Length of a block."""
AHEAD_PERIODS = 4
"""Blocks held ahead, so that a thread that is up to 30 ms late causes no gap."""
RESTING_PERIODS = 5
MAX_OWED_US = 1_000_000
"""A thread that is later than this (a suspended machine) begins a new grid."""

Tap = Callable[[Pcm], None]
"""Receives each block as played, silence included. Called on the device's thread."""


class VirtualDevice:
    """The device without its thread: `step` plays the next block. Thread-safe."""

    def __init__(self, *, rate_hz: int = 48_000, tap: Tap | None = None, speed: float = 1.0) -> None:
        self.rate_hz = rate_hz
        self.period_frames = rate_hz * PERIOD_US // 1_000_000
        self._speed = speed
        self._tap = tap
        self._lock = threading.Lock()
        self._held: list[Pcm] = []
        self._held_frames = 0
        self._pulled = 0
        self._fading: tuple[int, Pcm] | None = None
        self._volume = 1.0
        self._ramp = GainRamp(rate_hz)
        self._paused = False
        self._expected = False
        self._dry = True
        self._anchor: Anchor | None = None
        self._heard_to = 0
        self._underruns = 0
        self._silence_frames = 0

    def step(self, feed: AudioFeed, time_us: int) -> None:
        """Play the next block, which is heard from `time_us` on."""
        with self._lock:
            block = self._next_block(feed, time_us)
        if self._tap is not None:
            self._tap(block)

    def anchor(self) -> Anchor | None:
        """The playout position; None before the first block."""
        with self._lock:
            return self._anchor

    def expect(self, expected: bool) -> None:
        """Set whether content is due."""
        with self._lock:
            self._expected = expected
            if not expected:
                self._dry = True

    def clear(self) -> int:
        """Fade out within a ramp and discard the rest; see `AudioSink.clear`."""
        with self._lock:
            if self._ramp.gain > 0 and self._held_frames:
                first = self._pulled - self._held_frames
                tail = self._take(min(self._held_frames, ramp_frames(self.rate_hz)))
                ramp = GainRamp(self.rate_hz, self._ramp.gain)
                ramp.move(0.0, len(tail))
                faded, audible = ramp.apply(tail)
                self._fading = (first, faded)
                self._heard_to = first + audible
            self._held, self._held_frames = [], 0
            return self._heard_to

    def pause(self) -> None:
        """Fade out and hold everything."""
        with self._lock:
            self._paused = True
            self._ramp.move(0.0)

    def resume(self) -> None:
        """Continue from the held position."""
        with self._lock:
            self._paused = False
            self._move(self._volume)

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """Ramp to a gain, or to silence."""
        with self._lock:
            self._volume = 0.0 if muted else gain
            if not self._paused:
                self._move(self._volume)

    def counters(self) -> SinkCounters:
        """Faults so far."""
        with self._lock:
            return SinkCounters(underruns=self._underruns, silence_frames=self._silence_frames, starved=self._underruns)

    @property
    def rests(self) -> bool:
        """Whether there is nothing to play, and no tap that needs the silence."""
        with self._lock:
            return self._tap is None and not self._expected and not self._held_frames and self._fading is None

    @property
    def held_frames(self) -> int:
        """Frames pulled and not yet played."""
        with self._lock:
            return self._held_frames

    def _move(self, gain: float) -> None:
        if self._held_frames:
            self._ramp.move(gain)
        else:
            self._ramp.jump(gain)

    def _next_block(self, feed: AudioFeed, time_us: int) -> Pcm:
        if self._fading is not None:
            return self._faded_block(*self._fading, time_us)
        if self._paused and self._ramp.settled:
            return self._held_block(time_us)
        if not self._paused:
            self._fill(feed)
        return self._content_block(time_us)

    def _fill(self, feed: AudioFeed) -> None:
        wanted = (AHEAD_PERIODS + 1) * self.period_frames - self._held_frames
        if wanted <= 0:
            return
        pcm = feed.pull(wanted)
        if len(pcm):
            self._held.append(pcm)
            self._held_frames += len(pcm)
            self._pulled += len(pcm)

    def _content_block(self, time_us: int) -> Pcm:
        first = self._pulled - self._held_frames
        content = self._take(min(self.period_frames, self._held_frames))
        played, audible = self._ramp.apply(content)
        if audible:
            self._heard_to = first + audible
        limit = first + len(content) + (0 if self._paused else self._held_frames)
        self._anchor = Anchor(float(first), time_us, self.rate_hz * self._speed, limit)
        self._count(len(content))
        return self._padded(played)

    def _faded_block(self, first: int, faded: Pcm, time_us: int) -> Pcm:
        self._fading = None
        self._anchor = Anchor(float(first), time_us, self.rate_hz * self._speed, first + len(faded))
        return self._padded(faded)

    def _held_block(self, time_us: int) -> Pcm:
        first = self._pulled - self._held_frames
        self._anchor = Anchor(float(first), time_us, 0.0, first)
        return np.zeros(self.period_frames, np.int16)

    def _count(self, content_frames: int) -> None:
        missing = self.period_frames - content_frames
        if missing and self._expected and not self._paused:
            self._silence_frames += missing
            self._underruns += not self._dry
        self._dry = missing > 0 if self._expected else True

    def _take(self, frames: int) -> Pcm:
        taken: list[Pcm] = []
        left = frames
        while left:
            head = self._held[0]
            taken.append(head[:left])
            if len(head) <= left:
                self._held.pop(0)
            else:
                self._held[0] = head[left:]
            left -= len(taken[-1])
        self._held_frames -= frames
        return np.concatenate(taken) if taken else np.zeros(0, np.int16)

    def _padded(self, pcm: Pcm) -> Pcm:
        block = np.zeros(self.period_frames, np.int16)
        block[: len(pcm)] = pcm
        return block


class VirtualSink(VirtualDevice):
    """An in-process `AudioSink`: the device on a thread that keeps time. `speed` 2 plays an hour in half an hour."""

    def __init__(
        self,
        *,
        rate_hz: int = 48_000,
        tap: Tap | None = None,
        speed: float = 1.0,
        clock_us: Callable[[], int] = lambda: time.monotonic_ns() // 1_000,
        sleep_us: Callable[[int], None] = lambda us: time.sleep(us / 1e6),
        name: str = "virtual",
    ) -> None:
        super().__init__(rate_hz=rate_hz, tap=tap, speed=speed)
        self._period_us = PERIOD_US / speed
        self._clock_us = clock_us
        self._sleep_us = sleep_us
        self.name = name
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, feed: AudioFeed) -> None:
        """Start to pull, on a separate thread."""
        self._thread = threading.Thread(target=self._run, args=(feed,), name="virtual-sink", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after held content has been played."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, feed: AudioFeed) -> None:
        start_us, block = self._clock_us(), 0
        while not self._stopping.is_set():
            due_us = start_us + round(block * self._period_us)
            now_us = self._clock_us()
            if now_us - due_us > MAX_OWED_US:
                start_us, block, due_us = now_us, 0, now_us
            if due_us > now_us:
                self._sleep_us(due_us - now_us)
            self.step(feed, due_us)
            block += RESTING_PERIODS if self.rests else 1
        self._play_out(start_us, block)

    def _play_out(self, start_us: int, block: int) -> None:
        while self.held_frames:
            self.step(_Nothing(), start_us + round(block * self._period_us))
            block += 1


class _Nothing:
    """A feed without content."""

    def pull(self, frames: int) -> Pcm:
        """Nothing."""
        return np.zeros(0, np.int16)
