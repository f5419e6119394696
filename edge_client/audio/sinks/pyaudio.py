"""The loudspeaker: PyAudio on ALSA, in a separate process.

The rules:
1. A feeder thread pulls content and keeps the ring that the process plays from filled to `_TARGET_US`, or to two periods of the card.
2. All pulled content is kept for three seconds. When the process or its card is lost, or there was none, a process is started repeatedly.
   Each one chooses and opens the card from the beginning, and continues at the last frame that was heard; meanwhile nothing is pulled.
3. Content frames keep their index over clears and restarts, and their rate over all cards.
4. A card is released when nothing was to be played for `release_after_s` (0: never), and reopened for the next sound, which is held
   meanwhile.
5. With `fallback`, a run that finds no card begins with a virtual one, and switches to the first card that appears.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from edge_client.audio.card_memory import CardMemory
from edge_client.audio.cards import CardFiles
from edge_client.audio.history import History
from edge_client.audio.sink import Anchor, AudioFeed, SinkCounters
from edge_client.audio.speaker.channel import Settings
from edge_client.audio.speaker.keeper import Speaker, SpeakerKeeper
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerControl, SpeakerMemory, SpeakerStatus
from edge_client.audio.speaker.played_timeline import Snapshot
from edge_client.choices import Latency, Side

logger = logging.getLogger(__name__)

DEFAULT_BUFFER_FRAMES = 480
"""10 ms at 48 kHz; ALSA then holds two of them. The smallest that runs without underruns in a process that does nothing else."""

_TARGET_US = 200_000
_LOW_SHARE = 0.75
"""The ring is filled to the target when it falls to this fraction of it."""
_MARGIN_US = 50_000
_HISTORY_US = 3_000_000
_SHORT_PULL_SECONDS = 0.020
"""Wait after a pull that returned less than requested; `expect(True)` ends the wait."""
_ROOM_SECONDS = 0.005
"""Additional wait after the time at which there should be room again."""
_LONGEST_PAUSE_SECONDS = 0.025
"""Maximum of that wait: devices take content in bursts of up to their whole buffer, not at an even pace."""
_PULL_END_SECONDS = 0.05
_CLEAR_SECONDS = 0.5
_CLEAR_CHECK_SECONDS = 0.002
_DRAIN_SECONDS = 0.5
_DRAIN_CHECK_SECONDS = 0.01
_IDLE_SECONDS = 0.5
"""Length of a wait while nothing plays."""


class PyAudioSink:
    """An `AudioSink` that plays through ALSA. `device` is a name that `outputs.choose` accepts.

    The caller of `clear` should not hold a lock that the feed's `pull` takes: `clear` waits for a pull that began before, for 50 ms at
    most.
    """

    def __init__(
        self,
        *,
        rate_hz: int = 48_000,
        device: str = "",
        buffer_frames: int = DEFAULT_BUFFER_FRAMES,
        fallback: bool = False,
        latency: Latency = "low",
        side: Side = "both",
        keep_alive: bool = False,
        release_after_s: float = 0.0,
        mixer: str = "",
        cards: CardMemory | None = None,
        calibrated: bool = False,
        files: CardFiles | None = None,
    ) -> None:
        """`calibrated`: apply the offset that `cards` have for the card in use."""
        self._rate_hz = rate_hz
        self._buffer_frames = buffer_frames
        self.changed = threading.Condition()
        """Guards all mutable state."""
        self._cards = cards or CardMemory(None)
        self._calibrated = calibrated
        self._keeper = SpeakerKeeper(
            self,
            Settings(device, rate_hz, buffer_frames, side, keep_alive, mixer),
            fallback=fallback,
            latency=latency,
            release_after_s=release_after_s,
            cards=self._cards,
            files=files or CardFiles(),
        )
        self._feeder: threading.Thread | None = None
        self._reported_underruns = 0
        self._set_target(0)
        self._speaker: Speaker | None = None
        self._history = History(rate_hz * _HISTORY_US // 1_000_000)
        self._sent = 0
        self._cleared_to = 0
        self._resume_frame = 0
        self._pulling = False
        self._clearing = False
        self._closing = False
        self._expected = False
        self._has_news = False
        self._paused = False
        self._gain = GAIN_ONE
        self._past = self._counted = SinkCounters()
        self._counted_from: tuple[SinkCounters, int, int, int, str, str] | None = None

    @property
    def name(self) -> str:
        """The output in use, or the last one."""
        return self._keeper.name

    @property
    def rate_hz(self) -> int:
        """Frames per second that it pulls, whatever card plays."""
        return self._rate_hz

    def start(self, feed: AudioFeed) -> None:
        """Start: a card is opened in the background, now or whenever one appears."""
        self._feeder = threading.Thread(target=self._feed_loop, args=(feed,), name="speaker-feeder", daemon=True)
        self._keeper.start()
        self._feeder.start()

    def close(self) -> None:
        """Play out pulled content, within 0.5 s, and end the process. Takes at most 4 s, even if the device hangs."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        self._drain()
        if self._feeder is not None:
            self._feeder.join()
            self._keeper.close()

    def anchor(self) -> Anchor | None:
        """The current playout position, by the device's own clock. It is stopped while there is no card."""
        with self.changed:
            anchor = self._anchor()
            offset_us = self._cards.offsets_us.get(self._keeper.card_key, 0) if self._calibrated else 0
        return anchor if anchor is None or not offset_us else replace(anchor, offset_us=offset_us)

    @property
    def card_key(self) -> str:
        """The key under which data of the card in use, or the last one, is stored; empty before the first."""
        return self._keeper.card_key

    def expect(self, expected: bool) -> None:
        """Set whether content is due."""
        with self.changed:
            self._expected = expected
            self._has_news = self._has_news or expected
            self._tell(SpeakerControl.EXPECTED, int(expected))

    def clear(self) -> int:
        """Fade out and discard; takes one or two device buffers. See `AudioSink.clear`."""
        with self.changed:
            self.changed.wait_for(lambda: not self._clearing)
            self.changed.wait_for(lambda: not self._pulling, timeout=_PULL_END_SECONDS)
            self._cleared_to = self._history.end
            self._clearing = True
            try:
                return self._clear_speaker(self._speaker, self._cleared_to) if self._speaker is not None else self._resume_frame
            finally:
                self._sent = self._cleared_to
                self._clearing = False
                self.changed.notify_all()

    def pause(self) -> None:
        """Fade out and hold everything."""
        with self.changed:
            self._paused = True
            self._tell(SpeakerControl.PAUSED, 1)

    def resume(self) -> None:
        """Continue from the held position."""
        with self.changed:
            self._paused = False
            self._tell(SpeakerControl.PAUSED, 0)

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """Ramp to a linear gain of 0 to 1, or to silence while muted."""
        with self.changed:
            self._gain = 0 if muted else round(min(max(gain, 0.0), 1.0) * GAIN_ONE)
            self._tell(SpeakerControl.GAIN, self._gain)

    def counters(self) -> SinkCounters:
        """Faults so far, over all restarts."""
        with self.changed:
            return self._counters()

    # The methods up to `_feed_loop` are called with `changed` held, also by the keeper.

    def _set_target(self, period_us: int) -> None:
        self._target_frames = self._rate_hz * max(_TARGET_US, 2 * period_us + _MARGIN_US) // 1_000_000
        self._low_frames = round(self._target_frames * _LOW_SHARE)

    def _tell(self, word: SpeakerControl, value: int) -> None:
        if self._speaker is not None:
            self._speaker.memory[word] = value
        self.changed.notify_all()

    def _anchor(self) -> Anchor | None:
        now_us = time.monotonic_ns() // 1_000
        snapshot = self._speaker.memory.snapshot() if self._speaker is not None else None
        anchor = snapshot.anchor_at(now_us, self.rate_hz) if snapshot is not None else None
        if anchor is None and (self._resume_frame or self._past.restarts):
            return Anchor(float(self._resume_frame), now_us, 0.0, self._resume_frame)
        if snapshot is not None and anchor is not None and self._goes_on(anchor, snapshot):
            return Anchor(anchor.frame, now_us, anchor.rate_hz, self._history.end)
        return anchor

    def _goes_on(self, anchor: Anchor, snapshot: Snapshot) -> bool:
        """Whether all pulled content follows without a gap, as far as is known now.

        The device itself holds less than the time that a picture takes: a face that asks for the position at its display time must not be
        limited by that.
        """
        is_last = anchor.limit_frame == snapshot.end_frame
        return anchor.rate_hz > 0 and is_last and self._cleared_to < anchor.limit_frame and not (self._paused or self._clearing)

    def _counters(self) -> SinkCounters:
        if self._speaker is None:
            failing = self._keeper.failing
            lost = self._past.lost if failing in self._past.lost else failing
            if self._keeper.is_released:
                return replace(self._past, lost=lost, why="released while nothing is said")
            return replace(self._past, lost=lost, opening=not lost)
        memory = self._speaker.memory
        starved, dry, silence = memory[SpeakerStatus.STARVED], memory[SpeakerStatus.DEVICE_DRY], memory[SpeakerStatus.SILENCE_FRAMES]
        basis = (self._past, starved, dry, silence, self._keeper.unheard, self._keeper.why)
        if basis != self._counted_from:  # the player asks at each tick
            self._counted_from = basis
            self._counted = self._added(*basis)
        return self._counted

    def _added(self, past: SinkCounters, starved: int, dry: int, silence: int, unheard: str, why: str) -> SinkCounters:
        fault = past.last_fault
        if starved or dry:
            fault = f"since the device was opened: {starved} times no content in time, {dry} times the device ran dry"
        return replace(
            past,
            underruns=past.underruns + starved + dry,
            silence_frames=past.silence_frames + silence,
            last_fault=fault,
            starved=past.starved + starved,
            device_dry=past.device_dry + dry,
            unheard=unheard,
            why=why,
        )

    def _clear_speaker(self, speaker: Speaker, limit: int) -> int:
        """Have the speaker discard all up to frame `limit`; returns the frame after the last audible one."""
        memory = speaker.memory
        generation = memory[SpeakerControl.GENERATION] + 1
        memory[SpeakerControl.CLEAR_LIMIT] = limit
        memory[SpeakerControl.GENERATION] = generation
        deadline = time.monotonic() + _CLEAR_SECONDS
        while memory[SpeakerStatus.GENERATION_DONE] != generation:
            if time.monotonic() > deadline:
                if memory.depth_frames:  # else there is nothing to discard, and it answers once its card asks for more
                    speaker.kill()  # the supervisor starts a new one, at `_cleared_to`
                break
            self.changed.wait(_CLEAR_CHECK_SECONDS)  # others may read the anchor meanwhile
            if self._speaker is not speaker:
                return self._resume_frame
        memory[SpeakerControl.WRITTEN] = limit
        return memory[SpeakerStatus.AUDIBLE_END]

    def _send(self) -> None:
        """Move pulled content into the ring, as far as it has room."""
        if self._speaker is None or self._clearing:
            return
        memory = self._speaker.memory
        frames = min(memory.free_frames, self._history.end - self._sent)
        if frames > 0:
            memory.write(self._history.read(self._sent, frames))
            self._sent += frames

    def _depth_frames(self) -> int:
        """Frames that were pulled and not yet taken by the device."""
        waiting = self._history.end - self._sent
        return waiting + (self._speaker.memory.depth_frames if self._speaker is not None else 0)

    def _is_sounding(self) -> bool:
        """Whether content is due or waits, or the device still holds some that was not heard: a sound server may hold much."""
        if self._expected or self._depth_frames() > 0:
            return True
        anchor = self._anchor()
        return anchor is not None and self._cleared_to < self._history.end and anchor.frame < self._history.end

    def retire(self, fault: str) -> None:
        """Drop the speaker, keeping its counts and the frame at which the next one begins. See `SpeakerOwner`."""
        counters = self._counters()
        self._resume_frame = self._next_frame()
        self._sent = max(self._resume_frame, self._cleared_to)
        self._past = replace(counters, lost=fault, unheard="")
        if fault:
            self._past = replace(self._past, restarts=counters.restarts + 1, last_loss=fault, last_fault=fault)
        self._speaker = None
        self.changed.notify_all()

    def _next_frame(self) -> int:
        """The frame heard at the device's last report. What it may have played since is played again: none is lost."""
        snapshot = self._speaker.memory.snapshot() if self._speaker is not None else None
        anchor = snapshot.anchor_at(snapshot.time_us, self.rate_hz) if snapshot is not None else None
        frame = self._resume_frame if anchor is None else int(anchor.frame)
        return min(max(frame, self._history.begin), self._history.end)

    def begin(self, memory: SpeakerMemory) -> None:
        """Set where a new speaker begins: at the frame that is heard now, as far as known. See `SpeakerOwner`."""
        memory.begin(max(self._next_frame(), self._cleared_to), gain=self._gain, paused=self._paused)

    def adopt(self, speaker: Speaker, period_us: int) -> None:
        """Use a speaker that was started with an earlier state; changes since then are applied now. See `SpeakerOwner`."""
        self.changed.wait_for(lambda: not self._clearing, timeout=_CLEAR_SECONDS)
        self._speaker = speaker
        self._set_target(period_us)
        self._past = replace(self._past, lost="")
        self._tell(SpeakerControl.GAIN, self._gain)
        self._tell(SpeakerControl.PAUSED, int(self._paused))
        self._tell(SpeakerControl.EXPECTED, int(self._expected))
        if self._sent != speaker.memory[SpeakerControl.WRITTEN]:
            self._clearing = True  # the feeder writes nothing until the position is known
            self._clear_speaker(speaker, self._sent)
            self._clearing = False
            self.changed.notify_all()

    def _report_underruns(self) -> None:
        counters = self._counters()
        if counters.underruns > self._reported_underruns:
            logger.warning("audio underruns: %s more; %s", counters.underruns - self._reported_underruns, counters.last_fault)
            self._reported_underruns = counters.underruns

    # The feeder's thread.

    def _feed_loop(self, feed: AudioFeed) -> None:
        while True:
            with self.changed:
                if self._closing:
                    return
                self._keeper.look(sounding=self._is_sounding())
                wanted = self._wait_for_room()
                if not wanted:
                    continue
                self._pulling = True
                self._has_news = False
            samples = feed.pull(wanted)
            with self.changed:
                self._pulling = False
                self._history.add(samples)
                self._send()
                self._report_underruns()
                self.changed.notify_all()
                if len(samples) < wanted:
                    self.changed.wait_for(lambda: self._has_news or self._closing, timeout=_SHORT_PULL_SECONDS)

    def _wait_for_room(self) -> int:
        """Frames to pull; 0 after a wait if there is no room, or no speaker."""
        if self._speaker is None or self._clearing:
            self.changed.wait(_IDLE_SECONDS)
            return 0
        self._send()
        depth = self._depth_frames()
        if depth <= self._low_frames:
            return self._target_frames - depth
        self.changed.wait(min((depth - self._low_frames) / self.rate_hz + _ROOM_SECONDS, _LONGEST_PAUSE_SECONDS))
        return 0

    def _drain(self) -> None:
        """Wait until all pulled content was heard, at most 0.5 s."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline:
            with self.changed:
                self._send()
                anchor = self._anchor()
                if self._speaker is None or self._paused or self._history.end == self._cleared_to:
                    return
                if anchor is not None and anchor.frame >= self._history.end:
                    break
            time.sleep(_DRAIN_CHECK_SECONDS)
        time.sleep(self._buffer_frames / self.rate_hz)
