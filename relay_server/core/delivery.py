"""A conversation on one device: how it stands there, and what was sent of it and is not held yet. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from avatar_relay.media import ConversationOpen, Cursor, Kind
from avatar_relay.messages import ConversationEnd
from relay_server.core.narrow_link import Playhead
from relay_server.core.payload_batch import PayloadBatch


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of what was sent is kept per conversation until the device holds it."""

    us: int
    bytes: int


@dataclass(slots=True)
class Delivery:
    """A conversation on this device."""

    open: ConversationOpen
    publisher: str
    held: Cursor
    """What the device holds; when this is made, also what was sent."""
    announced: bool = False
    """The device was told of it."""
    again: bool = False
    """It was opened before, at another relay: the device may know it, and even be done with it."""
    cut: bool = False
    """Interrupted or replaced: nothing more is sent."""
    paused: bool = False
    steered: bool = False
    """It was paused once, so that a device that comes back must be told how it stands."""
    audio_only: bool = False
    end: ConversationEnd | None = None
    position_us: int = 0
    """Last position that the player reported."""
    playhead: Playhead = field(default_factory=Playhead)
    yielded: Counter[str] = field(default_factory=Counter)
    """Motion that yielded to sound and is not told yet: `payloads` and `bytes`."""
    narrow_told: bool = False
    retained: deque[tuple[int, PayloadBatch]] = field(default_factory=deque)
    """What was sent and is not held, each with the time of sending."""
    retained_bytes: int = 0
    forgotten: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """Last sequence of each kind that the bounds of retention threw away."""
    again_bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """What waits of each kind for a second time; it was accounted when it left first."""
    opened_at: Cursor | None = None
    """Opened again: what the device held by then."""
    telling: bool = False
    """Opened again when the device was done with it: its finished event is on its way."""
    skip_to: dict[Kind, int] = field(init=False)
    """The last sequence of each kind that the device held when this was opened."""
    spared_kinds: frozenset[Kind] = field(init=False)
    """Kinds of which the device need not get all."""
    sent_seqs: dict[Kind, int] = field(init=False)
    """The last sequence of each kind that was sent."""

    def __post_init__(self) -> None:
        at = self.opened_at or Cursor(self.open.conversation_id)
        self.skip_to = {Kind.AUDIO: at.audio_seq, Kind.MOTION: at.motion_seq}
        self.spared_kinds = frozenset(kind for kind, seq in self.skip_to.items() if seq or (kind is Kind.MOTION and self.sound_only))
        self.sent_seqs = {Kind.AUDIO: self.held.audio_seq, Kind.MOTION: self.held.motion_seq}

    @property
    def sent(self) -> Cursor:
        """How far the device was sent it."""
        return Cursor(self.open.conversation_id, self.sent_seqs[Kind.AUDIO], self.sent_seqs[Kind.MOTION])

    @property
    def sound_only(self) -> bool:
        """Whether the device gets no motion of it: there is none, or none that it understands."""
        return self.open.motion_format is None

    def retain(self, batches: Iterable[PayloadBatch], now_us: int, retention: Retention) -> int:
        """These left for the device: keep them, within bounds, until it holds them. Returns their bytes."""
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
        """Forget what is too old, or too much."""
        while self.retained and (self.retained[0][0] < now_us - retention.us or self.retained_bytes > retention.bytes):
            _, batch = self.retained.popleft()
            self.retained_bytes -= batch.size_bytes
            self.forgotten[batch.kind] = batch.seqs[-1]

    def covers(self, cursor: Cursor) -> bool:
        """Whether all that a device at `cursor` lacks is still here."""
        return cursor.audio_seq >= self.forgotten[Kind.AUDIO] and cursor.motion_seq >= self.forgotten[Kind.MOTION]

    def hold(self, cursor: Cursor) -> None:
        """The device holds so much of what was sent; motion that it does not get counts with its sound."""
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
        """What is to be sent for a second time; it is retained again when it leaves."""
        again = [batch for _, batch in self.retained]
        for batch in again:
            self.again_bytes[batch.kind] += batch.size_bytes
        self.let_go()
        return again

    def let_go(self) -> None:
        """Retain nothing."""
        self.retained.clear()
        self.retained_bytes = 0
