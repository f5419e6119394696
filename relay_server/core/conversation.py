"""State of one conversation, as driven by its publisher. Pure.

Rules
- Media is accepted while the conversation is OPEN; motion is rejected once it is AUDIO_ONLY, all media once it is ENDED or
  CLOSED. Rejected media is dropped with a reason, without an error: the publisher may not know the state yet.
- `audio_only` is final. `end` is sent once, and requires audio. `close` is possible in any state: interrupt, takeover, fault.
- Sequence numbers start at 1 per kind and have no gaps; 0 is replaced by the next number. A repeated number is a duplicate and dropped.
- A payload larger than `MAX_FRAGMENT_BYTES` is sent in fragments, even if it arrived in one piece.
- A step that is not in the table is a fault and leaves the state unchanged.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from operator import add

from avatar_relay.fragments import split
from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_PAYLOAD_BYTES
from avatar_relay.media import AudioFormat, ConversationOpen, Credit, Cursor, Kind, MotionEncoding, MotionFormat, Payload, PayloadColumns
from avatar_relay.messages import ConversationEnd, Finished, Taken
from avatar_relay.reasons import DropReason, Fault, FinishReason, Reason
from relay_server.core.credit_window import CreditWindow
from relay_server.errors import ConversationFault

US = 1_000_000


class State(enum.Enum):
    """State of a conversation on the publisher's side."""

    OPEN = "open"
    AUDIO_ONLY = "audio_only"
    ENDED = "ended"
    CLOSED = "closed"

    __hash__ = object.__hash__  # as for `Kind`: looked up for each payload


class Step(enum.Enum):
    """A step that changes the state; see `TRANSITIONS`."""

    AUDIO_ONLY = "audio_only"
    END = "end"
    CLOSE = "close"


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.OPEN, Step.AUDIO_ONLY): State.AUDIO_ONLY,
    (State.AUDIO_ONLY, Step.AUDIO_ONLY): State.AUDIO_ONLY,
    (State.OPEN, Step.END): State.ENDED,
    (State.AUDIO_ONLY, Step.END): State.ENDED,
    **{(state, Step.CLOSE): State.CLOSED for state in State},
}

NOT_TAKEN: dict[tuple[State, Kind], DropReason] = {
    (State.AUDIO_ONLY, Kind.MOTION): DropReason.AUDIO_ONLY,
    (State.ENDED, Kind.AUDIO): DropReason.AFTER_END,
    (State.ENDED, Kind.MOTION): DropReason.AFTER_END,
    (State.CLOSED, Kind.AUDIO): DropReason.CONVERSATION_CLOSED,
    (State.CLOSED, Kind.MOTION): DropReason.CONVERSATION_CLOSED,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted payload: its fragments for the devices, and their PTS in µs, given or estimated."""

    fragments: tuple[Payload, ...]
    due_us: int


class Track:
    """Sequence numbers, fragments and timing of one kind of media in a conversation."""

    def __init__(self, kind: Kind, format_: AudioFormat | MotionFormat | None, last_seq: int = 0) -> None:
        self._kind = kind
        self._format = format_
        self.last_seq = last_seq
        """Sequence number of the last complete payload."""
        self._partial: Payload | None = None
        self._partial_bytes = 0
        self._position_us = 0

    @property
    def partial_bytes(self) -> int:
        """Bytes received of the incomplete payload; 0 if there is none."""
        return 0 if self._partial is None else self._partial_bytes

    @property
    def incomplete(self) -> str:
        """Description of the payload that lacks fragments; empty if there is none."""
        if self._partial is None:
            return ""
        return f"{self._kind.value} payload {self._partial.seq} stopped at byte {self._partial_bytes} of {self._partial.total_bytes}"

    def take_columns(self, columns: PayloadColumns) -> bool:
        """Accept payloads or fragments that need no change: numbered, timed, within the size limit, in sequence.

        Returns False, with the state unchanged, if any of them does not qualify; then `take` each one.
        """
        _, seqs, all_pts_us, durations_us, sizes, offsets, totals = columns
        if len(seqs) == 1 and self._partial is None and not (offsets[0] or totals[0]):  # most messages of live traffic
            (seq,), (pts_us,) = seqs, all_pts_us
            if seq != self.last_seq + 1 or pts_us < 0 or not 0 < sizes[0] <= MAX_FRAGMENT_BYTES:
                return False
            self.last_seq = seq
            if (end_us := pts_us + durations_us[0]) > self._position_us:
                self._position_us = end_us
            return True
        if min(all_pts_us) < 0 or not 0 < min(sizes) <= max(sizes) <= MAX_FRAGMENT_BYTES:
            return False
        if self._partial is not None or any(totals) or any(offsets):
            return self._take_fragments(columns)
        following = self.last_seq + 1
        if list(seqs) != list(range(following, following + len(seqs))):
            return False
        self.last_seq = seqs[-1]
        self._position_us = max(self._position_us, *map(add, all_pts_us, durations_us))
        return True

    def _take_fragments(self, columns: PayloadColumns) -> bool:
        seq, position_us, partial, reached = self.last_seq, self._position_us, self._partial, self._partial_bytes
        rows = zip(columns.seqs, columns.pts_us, columns.durations_us, columns.sizes, columns.offsets, columns.totals, strict=True)
        for its_seq, pts_us, duration_us, size, offset, total in rows:
            if its_seq != seq + 1 or offset != reached or total > MAX_PAYLOAD_BYTES:
                return False
            if partial is not None and (total, pts_us, duration_us) != (partial.total_bytes, partial.pts_us, partial.duration_us):
                return False
            reached += size
            if reached == (total or size):
                seq, partial, reached = its_seq, None, 0
                position_us = max(position_us, pts_us + duration_us)
            elif reached > total:
                return False
            else:
                partial = Payload(columns.kind, its_seq, b"", pts_us, duration_us, 0, total)
        self.last_seq, self._position_us, self._partial, self._partial_bytes = seq, position_us, partial, reached
        return True

    def skip(self, seq: int) -> None:
        """Expect what follows `seq` next, unless more has been received already."""
        if self._partial is None:
            self.last_seq = max(self.last_seq, seq)

    def take(self, payload: Payload) -> Accepted | None:
        """Check, number and time a payload or fragment; None for a duplicate. Raises `ConversationFault` with the state unchanged."""
        size = len(payload.data)
        total = max(payload.total_bytes, size)
        if size == 0:
            raise _fault(Reason.PAYLOAD_INVALID, "a payload is never empty: send `end` or `audio_only` instead", "data")
        if total > MAX_PAYLOAD_BYTES:
            raise _fault(Reason.PAYLOAD_TOO_LARGE, f"a payload of {total} bytes; at most {MAX_PAYLOAD_BYTES} are allowed", "data")
        if 0 < payload.seq <= self.last_seq:
            return None
        first = self._partial
        if first is None:
            self._check_first(payload)
            head = self._timed(payload._replace(seq=self.last_seq + 1), total)
        else:
            self._check_next(first, payload, total)
            head = first
        due_us = self._position_us if head.pts_us is None else head.pts_us
        whole = 0 if total == size else total
        pieces = split(head._replace(data=payload.data, fragment_offset=payload.fragment_offset, total_bytes=whole))
        self._advance(head, payload.fragment_offset + size, total, due_us)
        return Accepted(pieces, due_us)

    def _check_first(self, payload: Payload) -> None:
        if payload.seq > self.last_seq + 1:
            text = f"{self._kind.value} payload {payload.seq} arrived, {self.last_seq + 1} was expected"
            raise _fault(Reason.SEQUENCE_GAP, text, "seq")
        if payload.fragment_offset != 0:
            text = f"a payload begins at byte 0, not {payload.fragment_offset}: its earlier fragments are missing"
            raise _fault(Reason.FRAGMENT_INVALID, text, "fragment_offset")

    def _check_next(self, first: Payload, payload: Payload, total: int) -> None:
        if payload.seq > first.seq:
            raise _fault(Reason.PAYLOAD_TRUNCATED, f"{self.incomplete}, then {payload.seq} came", "seq")
        if payload.fragment_offset != self._partial_bytes or total != first.total_bytes:
            text = f"{self.incomplete}; the next fragment says byte {payload.fragment_offset} of {total}"
            raise _fault(Reason.FRAGMENT_INVALID, text, "fragment_offset")
        if payload.fragment_offset + len(payload.data) > total:
            raise _fault(Reason.FRAGMENT_INVALID, f"{self.incomplete}; the next fragment reaches past its end", "fragment_offset")

    def _timed(self, payload: Payload, total: int) -> Payload:
        """Set the PTS and duration of a payload without PTS, from the format and its size. Raises `ConversationFault` if impossible."""
        if payload.pts_us is not None:
            return payload
        match self._format:
            case AudioFormat(codec, rate_hz) if codec.traits.sample_bytes:
                return payload._replace(pts_us=self._position_us, duration_us=total * US // (codec.traits.sample_bytes * rate_hz))
            case MotionFormat(encoding=MotionEncoding.BLENDSHAPE_WEIGHTS, blendshape_names=names, keyframes_per_second=rate):
                rows, rest = divmod(total, 4 * len(names))
                if rest:
                    text = f"{total} bytes are not a multiple of a row of {len(names)} float32 weights"
                    raise _fault(Reason.PAYLOAD_INVALID, text, "data")
                return payload._replace(pts_us=self._position_us, duration_us=round(rows * US / rate))
            case MotionFormat():
                text = "motion of AvatarKit carries no time of its own: set pts_us and duration_us (25 keyframes are 1000000 µs)"
                raise _fault(Reason.PAYLOAD_INVALID, text, "pts_us")
        return payload

    def _advance(self, head: Payload, reached: int, total: int, due_us: int) -> None:
        if reached < total:
            self._partial = head._replace(data=b"", total_bytes=total)
            self._partial_bytes = reached
            return
        self._partial = None
        self.last_seq = head.seq
        self._position_us = max(self._position_us, due_us + head.duration_us)


class Conversation:
    """A conversation, its publisher, and its outcome on each device."""

    def __init__(
        self,
        open_: ConversationOpen,
        publisher: str,
        device_ids: tuple[str, ...],
        *,
        window: int,
        step: int,
        held: Cursor | None = None,
        is_part: bool = False,
    ) -> None:
        """`held`: the conversation is reopened, and its devices hold the payloads up to this cursor. `is_part`: some of its devices are on
        other relays.
        """
        self.is_part = is_part
        self.open = open_
        self.conversation_id = open_.conversation_id
        self.publisher = publisher
        self.device_ids = device_ids
        self.state = State.OPEN
        self.delivering = dict.fromkeys(device_ids)
        """Devices that still receive media, in the order of `device_ids`."""
        self.playing = set(device_ids)
        """Devices whose finished event is outstanding."""
        self.results: list[Finished] = []
        self.broken_off: FinishReason | None = None
        """Why the relay ended it instead of its publisher; None if it did not."""
        held = held or Cursor(open_.conversation_id)
        self._tracks = {
            Kind.AUDIO: Track(Kind.AUDIO, open_.audio_format, held.audio_seq),
            Kind.MOTION: Track(Kind.MOTION, open_.motion_format, held.motion_seq),
        }
        self._windows = {kind: CreditWindow(window, step) for kind in Kind}
        self._sent = {device_id: dict.fromkeys(Kind, 0) for device_id in device_ids} if len(device_ids) > 1 else {}
        """Bytes of each kind sent to each device, if there are several."""
        self.owes_credit = False
        """Whether enough media was sent to return credit."""

    @property
    def cursor(self) -> Cursor:
        """The last complete payload of each kind."""
        return Cursor(self.conversation_id, self._tracks[Kind.AUDIO].last_seq, self._tracks[Kind.MOTION].last_seq)

    @property
    def taken(self) -> Taken:
        """The media received so far, for a publisher that reconnects."""
        audio, motion = (self._tracks[kind].partial_bytes for kind in (Kind.AUDIO, Kind.MOTION))
        return Taken(self.cursor, audio, motion, self.state is State.AUDIO_ONLY, not self.media_open)

    @property
    def credit_left(self) -> Credit:
        """Bytes that the publisher may still send."""
        return Credit(self._windows[Kind.AUDIO].left, self._windows[Kind.MOTION].left)

    @property
    def media_open(self) -> bool:
        """Whether more media is accepted."""
        return self.state in (State.OPEN, State.AUDIO_ONLY)

    def waiting(self, kind: Kind) -> int:
        """Bytes of a kind not yet sent to any device."""
        return self._windows[kind].waiting

    def skip(self, held: Cursor) -> None:
        """Do not expect media up to `held`: all devices hold it, so the publisher need not send it."""
        self._tracks[Kind.AUDIO].skip(held.audio_seq)
        self._tracks[Kind.MOTION].skip(held.motion_seq)

    def receive_columns(self, columns: PayloadColumns, size_bytes: int, *, credited: bool) -> bool:
        """Accept payloads of one kind that need no change; False, with the state unchanged, if any of them does not qualify."""
        kind = columns.kind
        if self.state is not State.OPEN and (self.state, kind) in NOT_TAKEN:
            return False
        if kind is Kind.MOTION and self.open.motion_format is None:
            return False
        window = self._windows[kind]
        used = window.used + size_bytes
        if (credited and used > window.granted) or not self._tracks[kind].take_columns(columns):
            return False
        window.used = used
        return True

    def receive(self, payload: Payload, *, credited: bool) -> Accepted | DropReason:
        """Accept a payload, or return the reason why it is dropped. Raises `ConversationFault` with the state unchanged.

        If `credited`, a payload that exceeds the granted credit is a fault.
        """
        kind, size = payload.kind, len(payload.data)
        window = self._windows[kind]
        if credited and size > window.left:
            raise _fault(
                Reason.CREDIT_EXCEEDED, f"{size} bytes of {kind.value} are more than the credit granted: wait for `credit`", "data"
            )
        refused = NOT_TAKEN.get((self.state, kind))
        if refused is None and kind is Kind.MOTION and self.open.motion_format is None:
            refused = DropReason.NO_MOTION_FORMAT
        accepted = None if refused else self._tracks[kind].take(payload)
        window.used += size
        if accepted is None:
            window.dropped += size
            return refused or DropReason.DUPLICATE
        return accepted

    def released(self) -> Credit | None:
        """Publisher credit to return now, for bytes sent to the fastest device and bytes dropped; None if less than a step."""
        audio, motion = self._windows[Kind.AUDIO].release(), self._windows[Kind.MOTION].release()
        self.owes_credit = False
        return Credit(audio, motion) if audio or motion else None

    def sent(self, device_id: str, kind: Kind, size: int) -> None:
        """Record that `size` bytes of a kind were sent to a device."""
        window = self._windows[kind]
        if self._sent:
            total = self._sent[device_id][kind] = self._sent[device_id][kind] + size
            size = max(0, total - window.sent)
        window.sent += size
        if window.sent >= window.owes_from:
            self.owes_credit = True

    def make_audio_only(self) -> None:
        """Accept no more motion."""
        self.state = self._step(Step.AUDIO_ONLY)

    def end(self, last_audio_seq: int = 0, last_motion_seq: int = 0) -> ConversationEnd:
        """End the conversation: no more media follows. Sequence numbers of 0 are not checked.

        Raises `ConversationFault` if media is missing, with the state unchanged.
        """
        state = self._step(Step.END)
        last = self.cursor
        if last.audio_seq == 0:
            raise _fault(Reason.NO_AUDIO, "a conversation ended without any audio", "end", prefix="")
        for track in self._tracks.values():
            if track.incomplete:
                raise _fault(Reason.PAYLOAD_TRUNCATED, f"{track.incomplete}, then the conversation ended", "end", prefix="")
        motion_counts = self.state is State.OPEN and self.open.motion_format is not None
        expected = Cursor(last.conversation_id, last_audio_seq or last.audio_seq, last_motion_seq or last.motion_seq)
        if expected.audio_seq != last.audio_seq or (motion_counts and expected.motion_seq != last.motion_seq):
            text = f"`end` says audio {expected.audio_seq} and motion {expected.motion_seq}, came {last.audio_seq} and {last.motion_seq}"
            raise _fault(Reason.SEQUENCE_GAP, text, "end", prefix="")
        self.state = state
        return ConversationEnd(self.conversation_id, last.audio_seq, last.motion_seq)

    def break_off(self, reason: FinishReason) -> ConversationEnd | None:
        """End the conversation early, without checks; None if there is no audio to play out. The state becomes CLOSED."""
        last, self.broken_off = self.cursor, reason
        self.state = self._step(Step.CLOSE)
        return ConversationEnd(self.conversation_id, last.audio_seq, last.motion_seq) if last.audio_seq else None

    def cut(self, device_id: str) -> None:
        """Stop delivery to a device. The conversation is closed if it was the last one."""
        self.delivering.pop(device_id, None)
        if not self.delivering:
            self.state = self._step(Step.CLOSE)

    def finished(self, device_id: str, body: Finished) -> bool:
        """Record a device's finished event; returns whether all devices have finished."""
        self.cut(device_id)
        self.playing.discard(device_id)
        self.results.append(body)
        return not self.playing

    def summary(self) -> Finished:
        """The combined result of all devices: the farthest position with its reason; interrupted if all were."""
        farthest = max(self.results, key=lambda body: body.position_us)
        return Finished(farthest.position_us, all(body.interrupted for body in self.results), farthest.reason)

    def _step(self, step: Step) -> State:
        following = TRANSITIONS.get((self.state, step))
        if following is None:
            reason = Reason.CONVERSATION_ENDED if self.state is State.ENDED else Reason.CONVERSATION_CLOSED
            raise _fault(reason, f"`{step.value}` came after the conversation was {self.state.value}", step.value, prefix="")
        return following


def _fault(reason: Reason, text: str, field: str, *, prefix: str = "media.payloads.") -> ConversationFault:
    return ConversationFault(Fault(reason, text, prefix + field))
