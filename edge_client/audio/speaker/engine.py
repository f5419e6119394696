"""The work of the callback: take content from the ring, scale it, count. No clock, no I/O, no logger.

The rules:
1. Content in the ring is output at once. If there is none, silence is output.
2. Content was being output, is expected, and the ring is empty: one underrun (*starved*) until content is output again. The device reports
   that it ran dry while content was being output or is expected: one underrun (*device dry*).
3. Pause fades out within 10 ms and holds; resume fades in from the next frame.
4. Clear fades out within 10 ms if content is being output, discards the rest up to the clear's limit, and answers. Content after the
   limit is output at once, at full gain.
5. The volume moves in ramps while there is sound, else at once. With a gain of 1 samples are output unchanged. If the card's own volume
   control is used, only silence is applied here.
"""

from __future__ import annotations

import numpy as np

from edge_client.audio.gain import GainRamp, ramp_frames
from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerControl, SpeakerMemory, SpeakerStatus
from edge_client.audio.speaker.played_timeline import PlayedTimeline

SETTLING_CALLBACKS = 2
"""The first callbacks of some devices report a delay of 0: the clock counts only after these."""


class SpeakerEngine:
    """Renders buffers. Use it on one thread only."""

    def __init__(self, memory: SpeakerMemory, rate_hz: int) -> None:
        self._memory = memory
        self.scales = True
        """Whether samples are scaled here: else the card sets any volume but 0. Once rendering, it may only change to True."""
        self._timeline = PlayedTimeline()
        self._volume = GainRamp(rate_hz, memory[SpeakerControl.GAIN] / GAIN_ONE)
        self._transport = GainRamp(rate_hz, 0.0 if memory[SpeakerControl.PAUSED] else 1.0)
        self._fade_frames = ramp_frames(rate_hz)
        self._fading_left = 0
        self._paused = bool(memory[SpeakerControl.PAUSED])
        self._faded = False
        self._clearing = False
        self._clear_limit = 0
        self._generation = memory[SpeakerControl.GENERATION]
        self._callbacks = 0
        self._sounding = False
        self._starving = False

    @property
    def device_frame(self) -> int:
        """Frames rendered so far."""
        return self._timeline.device_frame

    def render(self, frames: int, *, time_us: int, delay_frames: float, device_dry: bool) -> Pcm:
        """The next `frames` frames, of which the first is heard `delay_frames` after `time_us` (CLOCK_MONOTONIC)."""
        memory = self._memory
        self._take_commands()
        if device_dry and (self._sounding or memory[SpeakerControl.EXPECTED]):
            memory[SpeakerStatus.DEVICE_DRY] += 1
        heard_frame = self._timeline.device_frame - delay_frames
        output = np.zeros(frames, np.int16)
        filled = 0
        if self._clearing:
            filled = self._fill(output, 0, self._fading_left)
            self._fading_left -= filled
            if self._fading_left == 0:
                self._end_clear()
        if not self._clearing:
            filled += self._play(output, filled)
        self._timeline.add_silence(frames - filled)
        self._callbacks += 1
        memory[SpeakerStatus.CALLBACKS] = self._callbacks
        if self._callbacks > SETTLING_CALLBACKS:
            memory.publish(self._timeline.snapshot(time_us, heard_frame))
        return output

    def _take_commands(self) -> None:
        memory = self._memory
        gain = memory[SpeakerControl.GAIN] / GAIN_ONE
        gain = gain if self.scales else float(gain > 0)
        if gain != self._volume.target:
            if self._sounding:
                self._volume.move(gain)
            else:
                self._volume.jump(gain)
        generation = memory[SpeakerControl.GENERATION]
        if generation != self._generation:
            self._generation = generation
            self._begin_clear()
        paused = bool(memory[SpeakerControl.PAUSED])
        if paused != self._paused and not self._clearing:
            self._paused = paused
            if paused:
                self._begin_pause()
            else:
                self._end_pause()

    def _begin_pause(self) -> None:
        """Fade out if there is sound; content that arrives later is held completely."""
        self._faded = self._sounding
        if self._sounding:
            self._transport.move(0.0)
            self._fading_left = self._fade_frames
        else:
            self._transport.jump(0.0)

    def _end_pause(self) -> None:
        self._fading_left = 0
        if self._faded:
            self._transport.move(1.0)
        else:
            self._transport.jump(1.0)

    def _begin_clear(self) -> None:
        self._clearing = True
        self._clear_limit = self._memory[SpeakerControl.CLEAR_LIMIT]
        left = min(self._clear_limit, self._memory[SpeakerControl.WRITTEN]) - self._memory[SpeakerStatus.CONSUMED]
        silent = not self._sounding or (self._paused and self._fading_left == 0)
        self._fading_left = 0 if silent else min(self._fade_frames, left)
        if self._fading_left:
            self._transport.move(0.0, self._fading_left)

    def _end_clear(self) -> None:
        memory = self._memory
        self._clearing = False
        self._transport.jump(0.0 if self._paused else 1.0)
        self._sounding = self._starving = self._faded = False
        memory[SpeakerStatus.CONSUMED] = max(memory[SpeakerStatus.CONSUMED], self._clear_limit)
        memory[SpeakerStatus.GENERATION_DONE] = self._generation

    def _play(self, output: Pcm, start: int) -> int:
        """Fill from `start` with content that may be output; returns the number of frames."""
        wanted = len(output) - start
        if self._paused:
            filled = self._fill(output, start, min(wanted, self._fading_left))
            self._fading_left -= filled
            return filled
        filled = self._fill(output, start, wanted)
        self._count_starving(wanted - filled, filled)
        return filled

    def _count_starving(self, missing: int, filled: int) -> None:
        memory = self._memory
        if filled:
            self._starving = False
            self._sounding = True
        if not missing:
            return
        expected = bool(memory[SpeakerControl.EXPECTED])
        if self._sounding and expected:
            memory[SpeakerStatus.STARVED] += 1
            self._starving = True
        self._sounding = False
        self._starving = self._starving and expected
        if self._starving:
            memory[SpeakerStatus.SILENCE_FRAMES] += missing

    def _fill(self, output: Pcm, start: int, wanted: int) -> int:
        """Move up to `wanted` frames from the ring to the output, at their gain."""
        memory = self._memory
        consumed = memory[SpeakerStatus.CONSUMED]
        frames = min(wanted, len(output) - start, memory[SpeakerControl.WRITTEN] - consumed)
        if frames <= 0:
            return 0
        samples, loud = self._volume.apply(memory.read(consumed, frames))
        samples, open_frames = self._transport.apply(samples)
        output[start : start + frames] = samples
        audible = min(loud, open_frames)
        if audible:
            memory[SpeakerStatus.AUDIBLE_END] = consumed + audible
        self._timeline.add_content(consumed, frames)
        memory[SpeakerStatus.CONSUMED] = consumed + frames
        return frames
