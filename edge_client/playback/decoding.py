"""Decodes ahead: the head of the queue, then each follower once all before it are decoded. At most `decode_ahead_us` is decoded ahead."""

from __future__ import annotations

from avatar_relay.media import Kind
from avatar_relay.messages import DurationMismatch
from avatar_relay.reasons import DropReason
from edge_client.observer import PlaybackObserver
from edge_client.playback.events import PlaybackConfig
from edge_client.playback.ledgers import CreditLedger, DropLedger
from edge_client.playback.playing import Playing
from edge_client.playback.playout import Playout
from edge_client.playback.release import prefill_frames
from edge_client.playback.reports import Reports

DECODE_STEP_US = 200_000
"""Sound decoded in one tick: twenty times real time, while a tick stays short."""


class Decoding:
    """Decodes conversations in order of playback. Not thread-safe."""

    def __init__(
        self,
        config: PlaybackConfig,
        playout: Playout,
        reports: Reports,
        credit: CreditLedger,
        drops: DropLedger,
        observer: PlaybackObserver,
    ) -> None:
        self._config = config
        self._playout = playout
        self._reports = reports
        self._credit = credit
        self._drops = drops
        self._observer = observer

    def step(self, in_order: list[Playing], now_us: int) -> None:
        """Decode the sound and motion needed soon."""
        ahead = self._playout.queued_frames + sum(playing.audio.ready_frames for playing in in_order)
        step = DECODE_STEP_US * self._playout.rate_hz // 1_000_000
        limit = self._config.decode_ahead_us * self._playout.rate_hz // 1_000_000
        for playing in in_order:
            frames = min(step, limit - ahead)
            if frames > 0:
                before = playing.audio.ready_frames
                can_wait = not playing.is_live_paced or self._can_wait(playing)
                self._decode_one(playing, frames, now_us, can_wait=can_wait)
                ahead += playing.audio.ready_frames - before
                step -= playing.audio.ready_frames - before
            if not playing.audio.complete:
                return
            self._check_lengths(playing)

    def _can_wait(self, playing: Playing) -> bool:
        """Whether enough sound is decoded to wait for a missing payload."""
        ahead, rate_hz = self._playout.ahead, self._playout.rate_hz
        needed = ahead.latency_us * rate_hz // 1_000_000 + prefill_frames(self._config, playing, rate_hz)
        return ahead.unheard_frames + playing.audio.ready_frames >= needed

    def _decode_one(self, playing: Playing, frames: int, now_us: int, *, can_wait: bool) -> None:
        done = playing.audio.decode(frames, now_us, can_wait=can_wait)
        self._credit.free(Kind.AUDIO, done.freed_bytes)
        for seq in done.seqs:
            self._observer.decoded(playing.conversation_id, Kind.AUDIO, seq, now_us)
        if done.dropped_payloads:
            reason = DropReason.UNDECODABLE
            self._drops.add(playing.conversation_id, Kind.AUDIO, reason, done.dropped_payloads, done.dropped_bytes)
        for fault in done.faults:
            self._reports.fault_of(playing, fault)
        self._reports.cursor(playing)

    def _check_lengths(self, playing: Playing) -> None:
        motion = playing.motion
        if playing.length_checked or motion is None or playing.conversation.audio_only:
            return
        playing.length_checked = True
        if abs(playing.audio.length_us - motion.length_us) > motion.track.step_us:
            self._reports.event(playing.conversation_id, DurationMismatch(playing.audio.length_us, motion.length_us))
