"""A conversation on one device: its state, and the media that was sent but is not held yet. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from avatar_relay.media import ConversationOpen, Cursor, Kind
from avatar_relay.messages import ConversationEnd, Finished, Paused, PlayerEventBody, Resumed
from avatar_relay.reasons import FinishReason
from relay_server.core.narrow_link import Playhead
from relay_server.core.payload_batch import PayloadBatch


@dataclass(frozen=True, slots=True)
class Retention:
    """Bounds on sent media kept for each conversation until the device holds it, in time and bytes."""

    us: int
    bytes: int


@dataclass(slots=True)
class Delivery:
    """The state of a conversation on one device."""

    open: ConversationOpen
    publisher: str
    held: Cursor
    """What the device holds; initially also what was sent."""
    announced: bool = False
    """`open` was sent to the device."""
    again: bool = False
    """It was opened at another relay before: the device may know it, or even have finished it."""
    cut: bool = False
    """Interrupted or replaced: nothing more is sent."""
    paused: bool = False
    steered: bool = False
    """It was paused or resumed here, so the pause state is resent on reconnect."""
    audio_only: bool = False
    end: ConversationEnd | None = None
    position_us: int = 0
    """Last position in µs reported by the player."""
    playhead: Playhead = field(default_factory=Playhead)
    yielded: Counter[str] = field(default_factory=Counter)
    """Motion dropped in favour of audio and not reported yet: `payloads` and `bytes`."""
    yielded_total: Counter[str] = field(default_factory=Counter)
    count_id: int = 0
    """See `Dropped`."""
    narrow_told: bool = False
    retained: deque[tuple[int, PayloadBatch]] = field(default_factory=deque)
    """Media sent and not held, each with the time of sending."""
    retained_bytes: int = 0
    forgotten: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """Last sequence number of each kind discarded by the retention bounds."""
    again_bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """Bytes of each kind queued to be resent; they were counted when first sent."""
    opened_at: Cursor | None = None
    """If reopened: what the device held at that time."""
    telling: bool = False
    """It was reopened after the device had finished it: its finished event is outstanding."""
    skip_to: dict[Kind, int] = field(init=False)
    """The last sequence number of each kind that the device held when this was opened."""
    spared_kinds: frozenset[Kind] = field(init=False)
    """Kinds of which some payloads need not be sent."""
    sent_seqs: dict[Kind, int] = field(init=False)
    """The last sequence number of each kind that was sent."""

    def __post_init__(self) -> None:
        at = self.opened_at or Cursor(self.open.conversation_id)
        self.skip_to = {Kind.AUDIO: at.audio_seq, Kind.MOTION: at.motion_seq}
        self.spared_kinds = frozenset(kind for kind, seq in self.skip_to.items() if seq or (kind is Kind.MOTION and self.sound_only))
        self.sent_seqs = {Kind.AUDIO: self.held.audio_seq, Kind.MOTION: self.held.motion_seq}

    @property
    def sent(self) -> Cursor:
        """The last payloads sent to the device."""
        return Cursor(self.open.conversation_id, self.sent_seqs[Kind.AUDIO], self.sent_seqs[Kind.MOTION])

    @property
    def lost(self) -> Finished:
        """The finished event that the relay makes if the device is lost."""
        return Finished(self.position_us, interrupted=True, reason=FinishReason.DEVICE_LOST.value)

    @property
    def sound_only(self) -> bool:
        """Whether the device receives no motion: the conversation has none, or in an unsupported encoding."""
        return self.open.motion_format is None

    def retain(self, batches: Iterable[PayloadBatch], now_us: int, retention: Retention) -> int:
        """Keep sent batches, within bounds, until the device holds them. Returns their bytes."""
        size = 0
        for batch in batches:
            self.retained.append((now_us, batch))
            size += batch.size_bytes
            self.sent_seqs[batch.kind] = batch.seqs[-1]
        self.retained_bytes += size
        if self.retained_bytes > retention.bytes or self.retained[0][0] < now_us - retention.us:
            self.bound(now_us, retention)
        return size

    def bound(self, now_us: int, retention: Retention) -> None:
        """Discard the oldest media until the rest is within the bounds."""
        while self.retained and (self.retained[0][0] < now_us - retention.us or self.retained_bytes > retention.bytes):
            _, batch = self.retained.popleft()
            self.retained_bytes -= batch.size_bytes
            self.forgotten[batch.kind] = batch.seqs[-1]

    def covers(self, cursor: Cursor) -> bool:
        """Whether all media that a device at `cursor` lacks is still retained."""
        return cursor.audio_seq >= self.forgotten[Kind.AUDIO] and cursor.motion_seq >= self.forgotten[Kind.MOTION]

    def hold(self, cursor: Cursor) -> None:
        """Record that the device holds the media up to `cursor`. If it receives no motion, all motion counts as held."""
        sent_audio, sent_motion = self.sent_seqs[Kind.AUDIO], self.sent_seqs[Kind.MOTION]
        motion_seq = sent_motion if self.sound_only else cursor.motion_seq
        self.held = Cursor(
            cursor.conversation_id,
            min(max(self.held.audio_seq, cursor.audio_seq), sent_audio),
            min(max(self.held.motion_seq, motion_seq), sent_motion),
        )
        held = {Kind.AUDIO: self.held.audio_seq, Kind.MOTION: self.held.motion_seq}
        kept: deque[tuple[int, PayloadBatch]] = deque()
        kept_bytes = 0
        for sent_us, batch in self.retained:
            seq = held[batch.kind]
            if batch.seqs[-1] > seq:
                rest = batch.cut(batch.upto(seq))[1] if batch.seqs[0] <= seq else batch
                kept.append((sent_us, rest))
                kept_bytes += rest.size_bytes
        self.retained, self.retained_bytes = kept, kept_bytes

    def take_retained(self) -> list[PayloadBatch]:
        """Remove and return the retained media, to be resent; it is retained again when sent."""
        again = [batch for _, batch in self.retained]
        for batch in again:
            self.again_bytes[batch.kind] += batch.size_bytes
        self.let_go()
        return again

    def first_time(self, kind: Kind, size: int) -> int:
        """How many of `size` bytes just sent were sent for the first time. Call once for each batch: it updates `again_bytes`."""
        again = min(size, self.again_bytes[kind])
        self.again_bytes[kind] -= again
        return size - again

    def note_position(self, body: PlayerEventBody, now_us: int) -> None:
        """Update the playback position from a player event."""
        self.playhead.tell(body, now_us)
        if isinstance(body, Paused | Resumed):
            self.position_us = body.position_us

    def let_go(self) -> None:
        """Discard all retained media."""
        self.retained.clear()
        self.retained_bytes = 0
