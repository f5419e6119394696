"""The publishing side of one conversation: the media it accepts, its queue, and the next message to send.

Rules:
1. `open` is sent first. Audio is accepted until `end_audio`, motion until it is complete; both wait for credit.
2. Next to be sent is the payload with the earliest PTS whose kind has credit; audio wins ties, and audio without PTS
   goes first. Payloads of one kind never overtake each other.
3. `audio_only` is queued behind the motion accepted before it; motion after it is refused.
4. The wire's `end` follows everything else, so after `end_audio` it waits until the motion is complete: the conversation has none;
   it covers the audio to within a keyframe; its last message is marked as such; the caller declared it (`end_all`); or none
   arrived for `MOTION_GRACE_US`. It never waits for longer than the audio plays: it is sent `END_AHEAD_US` before the audio is over
   (`heard`), so that the device finishes with the last sample and a following conversation is joined to it. Motion that is
   handed over within `MOTION_LEAST_US` of `end_audio` is accepted in any case.
5. `close` discards waiting data. Nothing is sent after `end` or `close`.
6. Sent data is kept until all devices hold it (`release`), up to `RETAIN_BYTES` per kind. After a cut `rewind` queues
   again what the relay did not receive; nothing is sent then before the relay reports the conversation as open.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile

from avatar_relay.checks import FieldError
from avatar_relay.fragments import split
from avatar_relay.limits import MAX_JOINED_BYTES, MAX_MESSAGE_PAYLOADS, STRICT_SYNC_WAIT_US
from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind, Pacing, Payload
from avatar_relay.messages import AudioOnly, ConversationEnd, Dropped, Media, PlayerEventBody, Taken
from avatar_relay.publisher.errors import InvalidMediaError
from avatar_relay.publisher.heard_sound import HeardSound
from avatar_relay.publisher.media_line import MotionLine, MotionMessage, Slice, admit, audio_line
from avatar_relay.publisher.media_queue import MediaQueue
from avatar_relay.reasons import DropReason, Fault, Reason

MOTION_GRACE_US = STRICT_SYNC_WAIT_US
"""How long the end of the audio waits for motion before playback begins: as long as a device in `strict_sync` would."""
END_AHEAD_US = 400_000
"""Unfinished audio that a device holds back, plus a round trip."""
MOTION_LEAST_US = 200_000
SHORT_SOUND_US = 300_000
"""A device may not start before it holds this much audio, or the end."""

Outgoing = Media | AudioOnly | ConversationEnd
PlacedMotion = tuple[MotionMessage, int | None]
"""Motion with its position; None: after the motion before it."""


class Phase(enum.Enum):
    """Progress of a conversation at the publisher."""

    OPEN = "open"
    AUDIO_ENDED = "audio_ended"
    COMPLETE = "complete"
    """Nothing more is accepted; waiting data is still sent."""
    ENDED = "ended"
    """The end was sent."""
    CLOSED = "closed"


class PublishedConversation:
    """One conversation at the publisher. Not thread-safe; pure. `buffer_bytes` bounds the waiting data, per kind."""

    def __init__(self, opening: ConversationOpen, *, buffer_bytes: int) -> None:
        self.opening = opening
        self.conversation_id = opening.conversation_id
        self.phase = Phase.OPEN
        self.deadline_us: int | None = None
        """When `tick` must be called; None: not needed."""
        self._buffer_bytes = buffer_bytes
        self._audio = audio_line(opening.audio_format)
        self._motion = None if opening.motion_format is None else MotionLine(opening.motion_format)
        self._queues = {kind: MediaQueue() for kind in Kind}
        self._audio_only = False
        self._audio_only_due = False
        self._motion_complete = self._motion is None
        self._heard = HeardSound()
        self._audio_ended_us = self._progress_us = 0
        self.lacks_motion = False
        """The end was sent before the motion was complete."""
        self.end_was_sent = False
        """The end was sent at least once; a relay may not have received it."""
        self.has_more = False
        """After a message: whether another one may follow at once."""
        self.suspended = False
        """Rule 6: the relay has not yet reported it as open."""

    @property
    def takes_audio(self) -> bool:
        """Whether more audio is accepted."""
        return self.phase is Phase.OPEN

    @property
    def motion_refusal(self) -> DropReason | None:
        """Why motion would be refused now; None if it would not."""
        if self._audio_only:
            return DropReason.AUDIO_ONLY
        if self.phase in (Phase.ENDED, Phase.CLOSED):
            return DropReason.CONVERSATION_CLOSED
        return DropReason.AFTER_END if self.phase is Phase.COMPLETE else None

    @property
    def audio_payloads(self) -> int:
        """Number of accepted audio payloads."""
        return self._queues[Kind.AUDIO].seq

    @property
    def has_audio(self) -> bool:
        """Whether any whole sample or packet was accepted."""
        return self.audio_payloads > 0

    @property
    def carried_bytes(self) -> int:
        """Bytes of an incomplete sample."""
        return self._audio.carried_bytes

    def has_room(self, kind: Kind, size: int) -> bool:
        """Whether `size` bytes fit into the buffer. Data larger than the buffer fits if nothing waits."""
        return not self._queues[kind].payloads or self.fits(kind, size)

    def fits(self, kind: Kind, size: int) -> bool:
        """Whether the buffer holds `size` bytes more."""
        return self._queues[kind].waiting_bytes + size <= self._buffer_bytes

    def audio_steps(self, data: bytes) -> list[bytes]:
        """Split `data` into pieces to be pushed one after the other, so that the caller can wait for room in between.

        Returns at least one, which may be empty. Raises `InvalidMediaError` if it is not of the declared format; then nothing is accepted.
        """
        data = admit(self._audio, data)
        step = self._audio.step_bytes
        return [data[start : start + step] for start in range(0, len(data), step)] or [data]

    def offer_audio(self, data: bytes) -> bool:
        """Accept audio of any length, if it is accepted at present and fits; else False. Raises as `audio_steps`."""
        if self.phase is not Phase.OPEN or not self.fits(Kind.AUDIO, len(data)):
            return False
        self._append(Kind.AUDIO, self._audio.cut(admit(self._audio, data)))
        return True

    def push_audio(self, data: bytes) -> None:
        """Accept one piece of audio. Raises `InvalidMediaError` if it cannot be a packet; then nothing is accepted."""
        assert self.takes_audio
        self._append(Kind.AUDIO, self._audio.cut(data))

    def finish_audio(self) -> None:
        """No audio follows: accept bytes kept back because they could have been a header."""
        assert self.takes_audio
        self._append(Kind.AUDIO, self._audio.cut(self._audio.border.finish()))

    def inspect_motion(self, data: bytes) -> MotionMessage:
        """Check a motion payload. Raises `InvalidMediaError`."""
        if self._motion is None:
            text = "motion for a conversation that was opened without a motion format"
            raise InvalidMediaError(Fault(Reason.MOTION_FORMAT_UNSUPPORTED, text, "motion"))
        return self._motion.inspect(data)

    def inspect_all(self, frames: Sequence[bytes], at_us: int | list[int] | None) -> list[PlacedMotion]:
        """Check motion payloads before the first empty one; rows with one position each are split where they leave the grid.

        Raises `InvalidMediaError`, and `ValueError` if the number of positions differs from that of the keyframes.
        """
        messages = [self.inspect_motion(frame) for frame in takewhile(bool, frames)]
        if not isinstance(at_us, list):
            return [(message, None if index else at_us) for index, message in enumerate(messages)]
        ends = list(accumulate(message.keyframes for message in messages))
        if len(at_us) != (ends[-1] if ends else 0):
            raise FieldError("at_us", f"has {len(at_us)} positions for {ends[-1] if ends else 0} keyframes")
        motion = self._motion
        if motion is None:
            return []
        parts = zip(messages, ends, strict=True)
        return [part for message, end in parts for part in motion.split(message, at_us[end - message.keyframes : end])]

    def offer_motion(self, data: bytes) -> bool:
        """Accept a motion payload after the last one, if it is accepted before the end of the audio and fits; else False.

        Raises `InvalidMediaError`.
        """
        if self._motion is None or not data or self._audio_only or self.phase is not Phase.OPEN or not self.fits(Kind.MOTION, len(data)):
            return False
        message = self._motion.inspect(data)
        self._append(Kind.MOTION, [self._motion.place(message)])
        self._motion_complete = self._motion_complete or message.is_last
        return True

    def push_motion(self, message: MotionMessage, now_us: int, at_us: int | None = None) -> None:
        """Accept a checked motion payload: after the last one, or at a position."""
        assert self._motion is not None
        self._append(Kind.MOTION, [self._motion.place(message, at_us)])
        self._motion_complete = self._motion_complete or message.is_last
        if self.phase is Phase.AUDIO_ENDED:
            self._settle(now_us)

    def set_audio_only(self, now_us: int) -> None:
        """Audio only from here on. Final; no effect if repeated, or for a conversation without motion."""
        if self._audio_only or self._motion is None or self.phase not in (Phase.OPEN, Phase.AUDIO_ENDED):
            return
        self._audio_only = self._audio_only_due = self._motion_complete = True
        self._settle(now_us)

    def end_audio(self, now_us: int) -> None:
        """No more audio; motion may still follow (rule 4)."""
        self.finish_audio()
        self.phase = Phase.AUDIO_ENDED
        self._audio_ended_us = now_us
        self._settle(now_us)

    def heard(self, device_id: str, body: PlayerEventBody, now_us: int) -> None:
        """Process a device's playback event."""
        self._heard.on_event(device_id, body, now_us)
        if self.phase is Phase.AUDIO_ENDED:
            self.deadline_us = self._deadline_us()

    def end_all(self, now_us: int) -> None:
        """No more audio or motion."""
        self._motion_complete = True
        if self.phase is Phase.OPEN:
            self.finish_audio()
            self.phase = Phase.AUDIO_ENDED
        self._settle(now_us)

    def tick(self, now_us: int) -> None:
        """Stop waiting for motion once the deadline has passed."""
        if self.deadline_us is not None and now_us >= self.deadline_us:
            self.lacks_motion = True
            self.end_all(now_us)

    def _settle(self, now_us: int) -> None:
        """Apply rule 4 after a change."""
        if self.phase is not Phase.AUDIO_ENDED:
            return
        audio_us = self._audio.length_us
        covered = self._motion is not None and audio_us is not None and self._motion.length_us + self._motion.keyframe_us >= audio_us
        if self._motion_complete or covered:
            self.phase = Phase.COMPLETE
            self.deadline_us = None
        else:
            self._progress_us = now_us
            self.deadline_us = self._deadline_us()

    def _deadline_us(self) -> int:
        """The time until which motion is awaited (rule 4)."""
        patience_us, least_us = self._progress_us + MOTION_GRACE_US, self._audio_ended_us + MOTION_LEAST_US
        length_us = self._audio.length_us
        over_us = self._heard.over_us(length_us)
        if over_us is not None:
            return min(patience_us, max(over_us - END_AHEAD_US, least_us))
        is_short = length_us is not None and length_us <= SHORT_SOUND_US
        return least_us if is_short and not self._heard.has_begun else patience_us

    def close(self) -> list[Dropped]:
        """Discard waiting data permanently, and return what was dropped."""
        self.phase = Phase.CLOSED
        self.deadline_us = None
        self._audio_only_due = False
        for queue in self._queues.values():
            queue.sent.clear()
        return [dropped for kind, queue in self._queues.items() if (dropped := queue.discard(kind)) is not None]

    @property
    def held(self) -> Cursor:
        """Payloads up to this cursor are no longer kept, because all devices hold them (or `RETAIN_BYTES` was exceeded)."""
        return Cursor(self.conversation_id, self._queues[Kind.AUDIO].released_seq, self._queues[Kind.MOTION].released_seq)

    def release(self, held: Cursor) -> None:
        """All devices hold the payloads up to this cursor."""
        self._queues[Kind.AUDIO].release(held.audio_seq)
        self._queues[Kind.MOTION].release(held.motion_seq)

    def forget(self) -> None:
        """The conversation is over: keep nothing."""
        self.release(Cursor(self.conversation_id, self._queues[Kind.AUDIO].seq, self._queues[Kind.MOTION].seq))

    def rewind(self, taken: Taken) -> None:
        """Continue behind the data that the relay has, once it reports the conversation as open (rule 6)."""
        self.suspended = True
        self._queues[Kind.AUDIO].rewind(taken.cursor.audio_seq, taken.audio_bytes)
        self._queues[Kind.MOTION].rewind(taken.cursor.motion_seq, taken.motion_bytes)
        self._audio_only_due = self._audio_only and not (taken.audio_only or taken.ended)
        if self.phase is Phase.ENDED and not taken.ended:
            self.phase = Phase.COMPLETE
        elif self.phase is Phase.COMPLETE and taken.ended and not self.is_waiting:
            self.phase = Phase.ENDED  # the end was sent there, before a relay that did not have the conversation

    def grant(self, credit: Credit) -> None:
        """Add credit."""
        self._queues[Kind.AUDIO].credit += credit.audio_bytes
        self._queues[Kind.MOTION].credit += credit.motion_bytes

    def next_message(self) -> Outgoing | None:
        """The next message to send; None if nothing waits, or nothing may be sent."""
        if self.phase in (Phase.ENDED, Phase.CLOSED) or self.suspended:
            return None
        if payloads := self._take():
            return Media(self.conversation_id, tuple(payloads))
        if self._audio_only_due and not self._queues[Kind.MOTION].payloads:
            self._audio_only_due, self.has_more = False, True
            return AudioOnly(self.conversation_id)
        if self.phase is Phase.COMPLETE and not self.is_waiting:
            self.phase, self.end_was_sent = Phase.ENDED, True
            return ConversationEnd(self.conversation_id, self._queues[Kind.AUDIO].seq, self._queues[Kind.MOTION].seq)
        return None

    @property
    def is_waiting(self) -> bool:
        """Whether any accepted data has not been sent."""
        return self._audio_only_due or any(queue.payloads for queue in self._queues.values())

    def may_be_joined(self, after_us: int) -> bool:
        """Whether more media may be waited for: all that waits has a PTS of at least `after_us`, and it is neither a full message nor
        half of the buffer. False if nothing waits, or something else than media is to be sent.
        """
        queues = [queue for queue in self._queues.values() if queue.payloads]
        if not queues or self._audio_only_due or self.phase is not Phase.OPEN or self.opening.pacing is Pacing.LIVE:
            return False
        if sum(queue.waiting_bytes for queue in queues) >= min(MAX_JOINED_BYTES, self._buffer_bytes // 2):
            return False
        return all((pts_us := queue.payloads[0].pts_us) is not None and pts_us >= after_us for queue in queues)

    def _take(self) -> list[Payload]:
        """The payloads of the next message, in the order of rule 2."""
        audio, motion = self._queues[Kind.AUDIO], self._queues[Kind.MOTION]
        if not (audio.payloads and motion.payloads):  # nearly always
            taken = (audio if audio.payloads else motion).take(MAX_JOINED_BYTES, MAX_MESSAGE_PAYLOADS)
            self.has_more = bool(audio.payloads or motion.payloads) or self._audio_only_due or self.phase is Phase.COMPLETE
            return taken
        self.has_more, taken = True, []
        room = MAX_JOINED_BYTES
        while True:
            audio_us, motion_us = audio.first_us(room), motion.first_us(room)
            if audio_us is None and motion_us is None:
                return taken
            sound_goes = motion_us is None or (audio_us is not None and audio_us <= motion_us)
            taken += (audio if sound_goes else motion).take(room, 1)
            room -= len(taken[-1].data)

    def _append(self, kind: Kind, slices: Iterable[Slice]) -> None:
        queue = self._queues[kind]
        for piece in slices:
            queue.seq += 1
            queue.payloads.extend(split(Payload(kind, queue.seq, *piece)))
            queue.waiting_bytes += len(piece.data)
