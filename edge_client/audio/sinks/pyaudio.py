"""The loudspeaker: PyAudio on ALSA, in a process of its own.

The rules:
1. A feeder thread pulls content and keeps the ring that the process plays from filled to `_TARGET_US`.
2. All that is pulled is kept for a second. When the process or its device is lost, a new one is started, for as long as
   it takes, and goes on at the last frame that was heard; meanwhile nothing is pulled.
3. Content frames keep their index over clears and restarts.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import replace

from edge_client.audio.history import History
from edge_client.audio.sink import Anchor, AudioFeed, SinkCounters
from edge_client.audio.speaker.channel import DeviceOpened, Settings
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerControl, SpeakerStatus
from edge_client.audio.speaker.played_timeline import Snapshot
from edge_client.audio.speaker.process import SpeakerProcess
from edge_client.errors import SinkError

logger = logging.getLogger(__name__)

DEFAULT_BUFFER_FRAMES = 480
"""10 ms at 48 kHz; ALSA then holds two of them. The smallest that runs without underruns in a process with nothing else to do; a
machine that is busy all the time may want 1,024."""

_TARGET_US = 200_000
_LOW_US = 150_000
"""The ring is filled to the target when it falls to this."""
_HISTORY_US = 1_000_000
_SHORT_PULL_SECONDS = 0.020
"""How long to wait after a pull that gave less than was asked for; `expect(True)` ends the wait."""
_ROOM_SECONDS = 0.005
"""How long to wait beyond the time at which there is room again …"""
_LONGEST_PAUSE_SECONDS = 0.025
"""… and at most: devices take content in bursts of up to their whole buffer, not at an even pace."""
_PULL_END_SECONDS = 0.05
_CLEAR_SECONDS = 0.5
_CLEAR_CHECK_SECONDS = 0.002
_DRAIN_SECONDS = 0.5
_DRAIN_CHECK_SECONDS = 0.01
_RESTART_SECONDS = (0.05, 0.2, 0.5, *(1.0,) * 10, 1.5)
"""Pauses before the attempts to open a lost device again; the last one repeats. An attempt takes half a second, on a Raspberry Pi
more than one: together they keep to 3 s between plugging in and sound."""


class PyAudioSink:
    """An `AudioSink` that plays through ALSA. `device` is as `choose_output` takes it.

    While `clear` runs, its caller should not hold a lock that the feed's `pull` takes: a pull that began before is
    waited for, but for 50 ms at most.
    """

    def __init__(self, *, rate_hz: int = 48_000, device: str = "", buffer_frames: int = DEFAULT_BUFFER_FRAMES) -> None:
        self._settings = Settings(device=device, rate_hz=rate_hz, buffer_frames=buffer_frames)
        self._target_frames = rate_hz * _TARGET_US // 1_000_000
        self._low_frames = rate_hz * _LOW_US // 1_000_000
        self._opened = DeviceOpened(device=device or "default", channels=1)
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._logged_stderr = ""
        # All below is guarded by `_changed`.
        self._speaker: SpeakerProcess | None = None
        self._opening: SpeakerProcess | None = None
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
        self._past = SinkCounters()
        self._reported_underruns = 0

    @property
    def name(self) -> str:
        """The device's name, as PortAudio has it."""
        return f"PyAudio on ALSA, {self._opened.device}"

    @property
    def rate_hz(self) -> int:
        """Frames per second that it pulls."""
        return self._settings.rate_hz

    def start(self, feed: AudioFeed) -> None:
        """Start the speaker process and begin to pull. Takes about half a second. Raises `SinkError`."""
        speaker = self._new_speaker()
        with self._changed:
            self._adopt(speaker)
        logger.info("playing into %s", self.name)
        self._threads = [
            threading.Thread(target=self._feed_loop, args=(feed,), name="speaker-feeder", daemon=True),
            threading.Thread(target=self._supervise, args=(speaker,), name="speaker-supervisor", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Play out what was pulled, within 0.5 s, and end the process. Takes at most 4 s, also where the device hangs."""
        with self._changed:
            self._closing = True
            if self._opening is not None:
                self._opening.kill()
            self._changed.notify_all()
        self._drain()
        with self._changed:
            if self._speaker is not None:
                self._speaker.shut()
        for thread in self._threads:
            thread.join()
        with self._changed:
            speaker, self._threads = self._speaker, []
            if speaker is not None:
                self._retire(fault="")
        if speaker is not None:
            speaker.close()

    def anchor(self) -> Anchor | None:
        """Where playout is now, by the device's own clock. Stands while the device is lost."""
        with self._changed:
            return self._anchor()

    def expect(self, expected: bool) -> None:
        """Say whether content is due."""
        with self._changed:
            self._expected = expected
            self._has_news = self._has_news or expected
            self._tell(SpeakerControl.EXPECTED, int(expected))

    def clear(self) -> int:
        """Fade out and throw away; takes one or two device buffers. See `AudioSink.clear`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._clearing)
            self._changed.wait_for(lambda: not self._pulling, timeout=_PULL_END_SECONDS)
            self._cleared_to = self._history.end
            self._clearing = True
            try:
                return self._clear_speaker(self._speaker) if self._speaker is not None else self._resume_frame
            finally:
                self._sent = self._cleared_to
                self._clearing = False
                self._changed.notify_all()

    def pause(self) -> None:
        """Fade out, hold everything."""
        with self._changed:
            self._paused = True
            self._tell(SpeakerControl.PAUSED, 1)

    def resume(self) -> None:
        """Go on where it was held."""
        with self._changed:
            self._paused = False
            self._tell(SpeakerControl.PAUSED, 0)

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """Ramp to a linear gain of 0 to 1, or to silence while muted."""
        with self._changed:
            self._gain = 0 if muted else round(min(max(gain, 0.0), 1.0) * GAIN_ONE)
            self._tell(SpeakerControl.GAIN, self._gain)

    def counters(self) -> SinkCounters:
        """What went wrong so far, over all restarts."""
        with self._changed:
            return self._counters()

    # What follows up to `_feed_loop` is called with `_changed` held.

    def _tell(self, word: SpeakerControl, value: int) -> None:
        if self._speaker is not None:
            self._speaker.memory[word] = value
        self._changed.notify_all()

    def _anchor(self) -> Anchor | None:
        now_us = time.monotonic_ns() // 1_000
        snapshot = self._speaker.memory.snapshot() if self._speaker is not None else None
        anchor = snapshot.anchor_at(now_us, self.rate_hz) if snapshot is not None else None
        if anchor is None and self._past.restarts:
            return Anchor(float(self._resume_frame), now_us, 0.0, self._resume_frame)
        if snapshot is not None and anchor is not None and self._goes_on(anchor, snapshot):
            return Anchor(anchor.frame, now_us, anchor.rate_hz, self._history.end)
        return anchor

    def _goes_on(self, anchor: Anchor, snapshot: Snapshot) -> bool:
        """Whether all that was pulled follows without a gap, as far as is known now. What the device itself holds is less than
        the time that a picture takes: a face that asks for the moment of its picture must not be held up by that."""
        is_last = anchor.limit_frame == snapshot.end_frame
        return anchor.rate_hz > 0 and is_last and self._cleared_to < anchor.limit_frame and not (self._paused or self._clearing)

    def _counters(self) -> SinkCounters:
        past = self._past
        if self._speaker is None:
            return past
        memory = self._speaker.memory
        starved, dry = memory[SpeakerStatus.STARVED], memory[SpeakerStatus.DEVICE_DRY]
        fault = past.last_fault
        if starved or dry:
            fault = f"since the device was opened: {starved} times no content in time, {dry} times the device ran dry"
        return SinkCounters(
            underruns=past.underruns + starved + dry,
            silence_frames=past.silence_frames + memory[SpeakerStatus.SILENCE_FRAMES],
            restarts=past.restarts,
            last_fault=fault,
            starved=past.starved + starved,
            device_dry=past.device_dry + dry,
        )

    def _clear_speaker(self, speaker: SpeakerProcess) -> int:
        """Have the process throw away all up to `_cleared_to`; gives the frame after the last audible one."""
        memory = speaker.memory
        generation = memory[SpeakerControl.GENERATION] + 1
        memory[SpeakerControl.CLEAR_LIMIT] = self._cleared_to
        memory[SpeakerControl.GENERATION] = generation
        deadline = time.monotonic() + _CLEAR_SECONDS
        while memory[SpeakerStatus.GENERATION_DONE] != generation:
            if time.monotonic() > deadline:
                speaker.kill()  # the supervisor starts a new one, at `_cleared_to`
                break
            self._changed.wait(_CLEAR_CHECK_SECONDS)  # others may ask for the anchor meanwhile
            if self._speaker is not speaker:
                return self._resume_frame
        memory[SpeakerControl.WRITTEN] = self._cleared_to
        return memory[SpeakerStatus.AUDIBLE_END]

    def _send(self) -> None:
        """Move what was pulled into the ring, as far as it has room."""
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

    def _retire(self, *, fault: str) -> None:
        """Let the speaker go, keeping its counts and the frame that the next one begins with. The caller closes it."""
        counters = self._counters()
        self._resume_frame = min(max(self._last_known_frame(), self._history.begin), self._history.end)
        self._sent = max(self._resume_frame, self._cleared_to)
        restarts, last_fault = counters.restarts + (1 if fault else 0), fault or counters.last_fault
        self._past = replace(counters, restarts=restarts, last_fault=last_fault, lost=fault)
        self._speaker = None
        self._changed.notify_all()

    def _last_known_frame(self) -> int:
        """The frame that was heard at the device's last word. What it may have played since is played again: none is lost."""
        snapshot = self._speaker.memory.snapshot() if self._speaker is not None else None
        anchor = snapshot.anchor_at(snapshot.time_us, self.rate_hz) if snapshot is not None else None
        return self._resume_frame if anchor is None else int(anchor.frame)

    def _adopt(self, speaker: SpeakerProcess) -> None:
        """Take up a speaker that was opened with what held then; what changed since is told now."""
        self._speaker = speaker
        self._tell(SpeakerControl.GAIN, self._gain)
        self._tell(SpeakerControl.PAUSED, int(self._paused))
        self._tell(SpeakerControl.EXPECTED, int(self._expected))
        if self._sent != speaker.memory[SpeakerControl.WRITTEN]:
            self._clear_speaker(speaker)

    def _report_underruns(self) -> None:
        counters = self._counters()
        if counters.underruns > self._reported_underruns:
            logger.warning("audio underruns: %s more; %s", counters.underruns - self._reported_underruns, counters.last_fault)
            self._reported_underruns = counters.underruns

    # The threads.

    def _feed_loop(self, feed: AudioFeed) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                wanted = self._wait_for_room()
                if not wanted:
                    continue
                self._pulling = True
                self._has_news = False
            samples = feed.pull(wanted)
            with self._changed:
                self._pulling = False
                self._history.add(samples)
                self._send()
                self._report_underruns()
                self._changed.notify_all()
                if len(samples) < wanted:
                    self._changed.wait_for(lambda: self._has_news or self._closing, timeout=_SHORT_PULL_SECONDS)

    def _wait_for_room(self) -> int:
        """Frames to pull; 0 after a wait where there is no room, or nothing that plays."""
        if self._speaker is None or self._clearing:
            self._changed.wait()
            return 0
        self._send()
        depth = self._depth_frames()
        if depth <= self._low_frames:
            return self._target_frames - depth
        self._changed.wait(min((depth - self._low_frames) / self.rate_hz + _ROOM_SECONDS, _LONGEST_PAUSE_SECONDS))
        return 0

    def _supervise(self, speaker: SpeakerProcess) -> None:
        while True:
            reason = speaker.wait_until_lost()
            with self._changed:
                if self._closing:
                    return
                self._retire(fault=reason)
            speaker.kill()
            logger.warning("lost the audio device, opening it again: %s", reason)
            self._log_stderr(speaker)
            speaker.close()
            reopened = self._reopen()
            if reopened is None:
                return
            speaker = reopened

    def _reopen(self) -> SpeakerProcess | None:
        """A new speaker that goes on where the last one was; None where the sink is closed meanwhile."""
        for attempt in itertools.count():
            pause = _RESTART_SECONDS[min(attempt, len(_RESTART_SECONDS) - 1)]
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, timeout=pause):
                    return None
            try:
                speaker = self._new_speaker()
            except SinkError as error:
                with self._changed:
                    if not self._closing and self._past.lost != str(error):
                        logger.warning("cannot open the audio device, will keep trying: %s", error)
                    self._past = replace(self._past, lost=str(error))
                continue
            with self._changed:
                if not self._closing:
                    self._adopt(speaker)
                    logger.info("playing into %s again", self.name)
                    return speaker
            speaker.close()
        return None

    def _new_speaker(self) -> SpeakerProcess:
        """Start a process and open the device. Raises `SinkError`. Not with `_changed` held: it takes half a second."""
        speaker = SpeakerProcess(self._settings)
        with self._changed:
            speaker.memory.begin(self._sent, gain=self._gain, paused=self._paused)
            self._opening = speaker
            if self._closing:
                speaker.kill()
        try:
            self._opened = speaker.open()
        except SinkError:
            speaker.kill()
            self._log_stderr(speaker)
            speaker.close()
            raise
        finally:
            with self._changed:
                self._opening = None
        return speaker

    def _log_stderr(self, speaker: SpeakerProcess) -> None:
        """Log what a speaker that failed wrote to standard error, unless it is what the last one wrote."""
        text = speaker.stderr_excerpt()
        if text and text != self._logged_stderr:
            logger.warning("the speaker process wrote to standard error: %s", text)
        self._logged_stderr = text or self._logged_stderr

    def _drain(self) -> None:
        """Wait until all that was pulled was heard, at most 0.5 s."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline:
            with self._changed:
                self._send()
                anchor = self._anchor()
                if self._speaker is None or self._paused or self._history.end == self._cleared_to:
                    return
                if anchor is not None and anchor.frame >= self._history.end:
                    break
            time.sleep(_DRAIN_CHECK_SECONDS)
        time.sleep(self._settings.buffer_frames / self.rate_hz)
