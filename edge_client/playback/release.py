"""Decides when decoded sound is released to the sink, and how much of it.

Rules of release:
1. A conversation begins, and resumes after it ran dry, when its prefill is buffered or no more will come. `LIVE` resumes when its target
   (`live_delay`) is reached. `BURST`: the prefill is at least what the sound device may take at once, or the first word would have a gap if
   media is made hardly faster than real time. Each further underrun doubles it, up to `MAX_PREFILL_US`: a link that is too narrow causes
   pauses between stretches of speech, not holes in words.
2. `LIVE`: sound that is owed (`live_delay`) is skipped, so that the delay does not grow, but never below the target.
3. `LIVE`: the delay is steered to its target.
4. `strict_sync`: sound never passes the end of the motion. If that leaves nothing to play it waits, at most `STRICT_SYNC_WAIT_US`, then
   continues until motion is back.
5. If sound is about to run dry and more is to come, filler replaces it (`audio.joiner`) for a limited time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avatar_relay.limits import STRICT_SYNC_WAIT_US
from edge_client.audio.playout_queue import Chunk
from edge_client.choices import FrameStarvation
from edge_client.playback.events import PlaybackConfig
from edge_client.playback.live_delay import MAX_BUFFER_US, LiveDelay
from edge_client.playback.playing import Playing
from edge_client.playback.playout import Ahead

MAX_PREFILL_US = 1_000_000
HEAD_START_US = 40_000
"""`LIVE`: the initial delay of a conversation, however large its payloads are."""
SKIP_FROM_US = 40_000
"""`LIVE`: smaller debts are steered away, not skipped: each skip is an audible joint."""
FILL_AHEAD_US = 22_000
"""Filler is generated when less than this is left beyond the device's latency: one tick, and one block that the device pulls at once."""


@dataclass(slots=True)
class Released:
    """Chunks for the sink, and the amount skipped as late."""

    chunks: list[Chunk] = field(default_factory=list)
    late_payloads: int = 0
    late_bytes: int = 0
    primed_now: bool = False


def prefill_frames(config: PlaybackConfig, playing: Playing, rate_hz: int) -> int:
    """Sound that must be buffered before a conversation is heard."""
    us = config.live_prefill_us
    if not playing.is_live_paced:
        us = min(config.burst_prefill_us << min(max(playing.times_dry - 1, 0), 16), max(MAX_PREFILL_US, config.burst_prefill_us))
    return us * rate_hz // 1_000_000


class Release:
    """Decides for one sink. Not thread-safe; keeps its state in `Playing`."""

    def __init__(self, config: PlaybackConfig, rate_hz: int) -> None:
        self._config = config
        self._rate_hz = rate_hz
        self.filled_gaps = 0
        self.filled_frames = 0

    def step(self, playing: Playing, ahead: Ahead, now_us: int) -> Released:
        """Take the sound that may be played now from a conversation's stream. `ahead` is what is queued before it."""
        released = Released()
        self._steer(playing, ahead, now_us)
        if playing.live is not None:
            self._skip_late(playing, playing.live, ahead, released, now_us)
        if not playing.primed and not self._prime(playing, ahead, now_us):
            return released
        for ready in playing.audio.take(self._allowed_frames(playing, ahead.queued_frames, now_us)):
            released.chunks += playing.joiner.join(ready)
        if released.chunks:
            released.primed_now = not playing.primed
            playing.primed = True
        else:
            released.chunks = self._fill(playing, ahead)
        if playing.live is not None:
            released.chunks = playing.live.process(released.chunks)
            released.chunks += playing.live.flush() if playing.audio.drained else []
        return released

    def _steer(self, playing: Playing, ahead: Ahead, now_us: int) -> None:
        if playing.live is None:
            return
        if playing.conversation.paused:
            playing.live.pause()
        elif playing.started:
            playing.live.heard(now_us, playing.heard_pts_us)
            if playing.primed:
                playing.live.steer(now_us, playing.heard_pts_us, ahead.latency_us)
            else:
                playing.live.stall()

    def _prime(self, playing: Playing, ahead: Ahead, now_us: int) -> bool:
        audio = playing.audio
        if audio.complete:
            return audio.ready_frames > 0 or not playing.drained
        prefill = prefill_frames(self._config, playing, self._rate_hz)
        if playing.live is None:
            at_once = min(ahead.buffer_us, self._config.decode_ahead_us) * self._rate_hz // 1_000_000
            return 0 < audio.ready_frames >= max(prefill, at_once)
        if not audio.ready_frames:
            return False
        delay_us = self._delay_us(playing, playing.live, ahead, now_us)
        if delay_us is None:
            return audio.ready_frames >= prefill
        ready_us = self._us(audio.ready_frames)
        if playing.started:
            target_us = playing.live.target_us(ahead.latency_us)
            skips_on = audio.has_more and min(playing.live.owed_us(delay_us), delay_us - target_us) >= SKIP_FROM_US
            return not skips_on and max(delay_us, ready_us) >= target_us
        enough = delay_us - ahead.latency_us >= HEAD_START_US or ready_us >= MAX_BUFFER_US
        return enough and audio.ready_frames >= prefill

    def _skip_late(self, playing: Playing, live: LiveDelay, ahead: Ahead, released: Released, now_us: int) -> None:
        delay_us = self._delay_us(playing, live, ahead, now_us)
        if delay_us is None or not playing.started or playing.conversation.paused:
            return
        buffered_us = self._us(ahead.unheard_frames + playing.audio.ready_frames)
        surplus_us = min(live.owed_us(delay_us), min(delay_us, buffered_us) - live.target_us(ahead.latency_us))
        if surplus_us < SKIP_FROM_US:
            return
        for ready in playing.audio.take(surplus_us * self._rate_hz // 1_000_000):
            released.late_payloads += ready.payloads
            released.late_bytes += ready.bytes

    def _delay_us(self, playing: Playing, live: LiveDelay, ahead: Ahead, now_us: int) -> int | None:
        """The delay of the sample that is released next."""
        heard_us = now_us + max(ahead.latency_us, self._us(ahead.unheard_frames))
        return live.delay_us(heard_us, playing.audio.next_pts_us)

    def _fill(self, playing: Playing, ahead: Ahead) -> list[Chunk]:
        if not playing.started or playing.audio.drained or playing.conversation.paused:
            return []
        frames = (ahead.latency_us + FILL_AHEAD_US) * self._rate_hz // 1_000_000 - ahead.unheard_frames
        filled = playing.joiner.filled_frames
        filler = playing.joiner.fill(frames)
        if filler:
            self.filled_gaps += not filled
            self.filled_frames += frames
        return filler

    def _us(self, frames: int) -> int:
        return frames * 1_000_000 // self._rate_hz

    def _allowed_frames(self, playing: Playing, queued_frames: int, now_us: int) -> int:
        ready = playing.audio.ready_frames
        strict = self._config.frame_starvation is FrameStarvation.STRICT_SYNC
        if not strict or not playing.expects_motion or playing.motion is None:
            playing.waits_since_us = None
            return ready
        next_us = playing.audio.next_pts_us
        covered_us = playing.motion.track.covered_to(next_us) - next_us
        if covered_us > 0:
            playing.waits_since_us, playing.wait_over = None, False
            return min(ready, covered_us * self._rate_hz // 1_000_000)
        if playing.wait_over:
            return ready
        if playing.waits_since_us is None and queued_frames == 0 and ready:
            playing.waits_since_us = now_us
        if playing.waits_since_us is not None and now_us - playing.waits_since_us >= STRICT_SYNC_WAIT_US:
            playing.waits_since_us, playing.wait_over = None, True
            return ready
        return 0
