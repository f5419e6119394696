"""When decoded sound may go to the sink, and how much of it.

Rules of release:
1. A conversation begins, and goes on after it ran dry, when its prefill is there or no more will come.
2. `LIVE`: what silence took is skipped, so that the delay does not grow: as much sound as silence lasted, but never below
   the prefill. What is not paid within `LATE_WINDOW_US` after sound is back is forgiven.
3. `strict_sync`: sound goes no further than motion covers. Where that leaves nothing to play it waits, at most
   `STRICT_SYNC_WAIT_US`, then goes on until motion is back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avatar_relay.limits import STRICT_SYNC_WAIT_US
from edge_client.audio.playout_queue import Chunk
from edge_client.events import FrameStarvation, PlaybackConfig
from edge_client.playing import Playing

LATE_WINDOW_US = 500_000


@dataclass(slots=True)
class Released:
    """What goes to the sink now, and what was skipped for being late."""

    chunks: list[Chunk] = field(default_factory=list)
    late_payloads: int = 0
    late_bytes: int = 0
    primed_now: bool = False


def prefill_frames(config: PlaybackConfig, playing: Playing, rate_hz: int) -> int:
    """Sound that must be there before a conversation is heard."""
    us = config.live_prefill_us if playing.is_live_paced else config.burst_prefill_us
    return us * rate_hz // 1_000_000


class Release:
    """Decides for one sink. Not thread-safe; keeps its state in `Playing`."""

    def __init__(self, config: PlaybackConfig, rate_hz: int) -> None:
        self._config = config
        self._rate_hz = rate_hz

    def step(self, playing: Playing, queued_frames: int, now_us: int) -> Released:
        """Take what may be played now out of a conversation's stream. `queued_frames` wait in front of it already."""
        released = Released()
        if not playing.primed and not self._prime(playing, now_us):
            return released
        released.primed_now = not playing.primed
        if playing.is_live_paced:
            self._skip_late(playing, queued_frames, released, now_us)
        frames = self._allowed_frames(playing, queued_frames, now_us)
        for ready in playing.audio.take(frames):
            released.chunks.append(Chunk(playing.conversation_id, ready.pts_frame, len(ready.pcm), ready.pcm))
        if released.primed_now and not released.chunks:
            released.primed_now = False
            return released
        playing.primed = True
        return released

    def _prime(self, playing: Playing, now_us: int) -> bool:
        audio = playing.audio
        if not audio.ready_frames or not (audio.complete or audio.ready_frames >= prefill_frames(self._config, playing, self._rate_hz)):
            return False
        if playing.stalled_since_us is not None and not playing.late_us:
            playing.late_us = now_us - playing.stalled_since_us
            playing.late_until_us = now_us + LATE_WINDOW_US
        return True

    def _skip_late(self, playing: Playing, queued_frames: int, released: Released, now_us: int) -> None:
        if now_us > playing.late_until_us:
            playing.late_us = 0
        surplus = queued_frames + playing.audio.ready_frames - prefill_frames(self._config, playing, self._rate_hz)
        frames = min(playing.late_us * self._rate_hz // 1_000_000, surplus)
        if frames <= 0:
            return
        for ready in playing.audio.take(frames):
            released.late_payloads += ready.payloads
            released.late_bytes += ready.bytes
            playing.late_us = max(0, playing.late_us - len(ready.pcm) * 1_000_000 // self._rate_hz)

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
