"""Accepts media: reassembles fragments, refuses what is not wanted, keeps the ledgers.

Every received byte is entered in the credit ledger once, and freed here if its payload is not used. Faults are returned, for the engine to
report.
"""

from __future__ import annotations

import threading

from avatar_relay.fragments import FragmentError
from avatar_relay.media import Kind, Payload
from avatar_relay.messages import ConversationEnd, Media
from avatar_relay.reasons import DropReason, Fault, Reason
from edge_client.audio.jitter_buffer import PushResult
from edge_client.observer import PlaybackObserver
from edge_client.playback.ledgers import CreditLedger, DropLedger
from edge_client.playback.live_conversations import Holdable
from edge_client.playback.playing import Playing

_DROP_REASONS = {
    PushResult.DUPLICATE: DropReason.DUPLICATE,
    PushResult.LATE: DropReason.LATE,
    PushResult.STALE: DropReason.CONVERSATION_CLOSED,
    PushResult.FULL: DropReason.BUFFER_FULL,
}


class Intake:
    """Feeds the streams of conversations. `lock` guards motion tracks, which the renderer reads."""

    def __init__(self, credit: CreditLedger, drops: DropLedger, observer: PlaybackObserver, lock: threading.Lock) -> None:
        self._credit = credit
        self._drops = drops
        self._observer = observer
        self._lock = lock
        self.payloads = 0
        self.keyframes = 0

    def enter(self, media: Media) -> bool:
        """Enter a message's bytes as received; False if they exceed the credit."""
        return all([self._credit.receive(payload.kind, len(payload.data)) for payload in media.payloads])

    def shed(self, media: Media) -> bool:
        """Discard a message that arrives while far more is outstanding than was granted; returns whether it was discarded."""
        flooded = self._credit.is_flooded
        if flooded:
            self.drop(media, DropReason.BUFFER_FULL)
        return flooded

    def drop(self, media: Media, reason: DropReason) -> None:
        """Discard a message."""
        for payload in media.payloads:
            self._drop(media.conversation_id, payload, reason, len(payload.data))

    def drop_held(self, messages: tuple[Holdable, ...], reason: DropReason) -> None:
        """Discard all that was held for a conversation."""
        for message in messages:
            if isinstance(message, Media):
                self.drop(message, reason)

    def take(self, playing: Playing, payload: Payload, now_us: int) -> Fault | None:
        """Accept a payload, or a fragment of one, whose bytes are already entered."""
        size = len(payload.data)
        if payload.kind is Kind.MOTION and payload.seq > playing.motion_seq:
            self._drops.miss(payload.seq - playing.motion_seq - 1)
            playing.motion_seq = payload.seq
        reassembler = playing.reassemblers[payload.kind]
        refusal = playing.conversation.refusal(payload)
        if refusal is not None:
            self._drop(playing.conversation_id, payload, refusal, size + reassembler.pending_bytes)
            reassembler.reset()
            return None
        pending = reassembler.pending_bytes
        try:
            whole = reassembler.add(payload)
        except FragmentError as error:
            self._drop(playing.conversation_id, payload, DropReason.INVALID, size + pending)
            return error.fault
        if playing.first_payload_us is None:
            playing.first_payload_us = now_us
        return None if whole is None else self._take_whole(playing, whole, now_us)

    def end(self, playing: Playing, end: ConversationEnd) -> Fault | None:
        """Mark the end of the conversation's media.

        The fault describes an incomplete payload. A payload that `end` does not count was given up by the device that ended it, if it was
        reported.
        """
        fault = None
        self._drops.miss(max(0, end.last_motion_seq - playing.motion_seq))
        for kind, last_seq in ((Kind.AUDIO, end.last_audio_seq), (Kind.MOTION, end.last_motion_seq)):
            reassembler = playing.reassemblers[kind]
            if 0 < reassembler.pending_seq <= last_seq:
                text = f"the last {kind.value} payload is not complete: {reassembler.pending_bytes} bytes of it came"
                fault = Fault(Reason.PAYLOAD_TRUNCATED, text, "media.payloads.total_bytes")
        self.reset(playing)
        return fault

    def reset(self, playing: Playing) -> None:
        """Discard partly reassembled payloads."""
        for kind, reassembler in playing.reassemblers.items():
            self._credit.free(kind, reassembler.pending_bytes)
            reassembler.reset()

    def _take_whole(self, playing: Playing, payload: Payload, now_us: int) -> Fault | None:
        self.payloads += 1
        self._observer.received(playing.conversation_id, payload, now_us)
        match payload.kind:
            case Kind.AUDIO:
                result = playing.push(payload, now_us)
                if result is not PushResult.ACCEPTED:
                    self._drop(playing.conversation_id, payload, _DROP_REASONS[result], len(payload.data))
                return None
            case Kind.MOTION:
                return self._take_motion(playing, payload, now_us)

    def _take_motion(self, playing: Playing, payload: Payload, now_us: int) -> Fault | None:
        motion = playing.motion
        if motion is None:
            self._drop(playing.conversation_id, payload, DropReason.UNDECODABLE, len(payload.data))
            return None
        poses = motion.decode(payload)
        if isinstance(poses, Fault):
            reason = DropReason.UNDECODABLE if poses.reason is Reason.MOTION_UNDECODABLE else DropReason.INVALID
            self._drop(playing.conversation_id, payload, reason, len(payload.data))
            return poses
        refusal = poses if isinstance(poses, DropReason) else None
        if not isinstance(poses, DropReason):
            self.keyframes += len(poses)
            self._observer.decoded(playing.conversation_id, Kind.MOTION, payload.seq, now_us)
            with self._lock:
                refusal = motion.place(payload, poses, playing.heard_pts_us)
        if refusal is not None:
            self._drop(playing.conversation_id, payload, refusal, len(payload.data))
        return motion.complaint()

    def _drop(self, conversation_id: str, payload: Payload, reason: DropReason, size: int) -> None:
        self._credit.free(payload.kind, size)
        self._drops.add(conversation_id, payload.kind, reason, int(payload.fragment_offset == 0), size)
