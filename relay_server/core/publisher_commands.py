"""Handling of publishers' messages. Pure.

Rules (numbers of the conversation rules in the design)
- 1  `open` opens: see `open_conversation`.
- 2  Media of a closed id is dropped and reported; media of an unknown id is held for its `open`, then dropped and reported.
- 3, 4  `audio_only` is final; only its own publisher can control a conversation.
- 5  If a publisher is gone, the relay ends its conversations: they play out.
- 11 A member of a group that cannot keep up loses the conversation; it continues on the others.
A payload that breaks the rules fails its conversation: media accepted before plays out, and no more is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from avatar_relay.ids import is_valid_id
from avatar_relay.media import Kind, Payload, PayloadColumns
from avatar_relay.messages import (
    AudioOnly,
    ConversationCredit,
    ConversationEnd,
    DeviceVolume,
    Dropped,
    EventAck,
    Finished,
    Interrupt,
    Media,
    Opened,
    Pause,
    PlayerEvent,
    PublishedMedia,
    PublishOpen,
    Resume,
    Taken,
    ToPublisher,
)
from avatar_relay.reasons import DropReason, Fault, FinishReason, Reason
from relay_server.config import RelayConfig
from relay_server.core.conversation import Conversation
from relay_server.core.events import ConversationEnded, Effect, PayloadsReceived, TellPublisher, WakeDevice
from relay_server.core.finishing import MADE_BY_RELAY, cut_on, report_fault, tell_event
from relay_server.core.open_conversation import ConversationOpener
from relay_server.core.payload_batch import PayloadBatch, in_columns
from relay_server.core.registry import PublisherRecord, Registry
from relay_server.core.session import Session
from relay_server.errors import ConversationFault

Command = PublishOpen | Media | AudioOnly | ConversationEnd | Interrupt | Pause | Resume | DeviceVolume | EventAck


_new = tuple.__new__
"""Makes a named tuple; its own constructor is a Python function, called for each payload."""


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """A message that matches no conversation of its publisher: the id that it names, and why it is refused."""

    conversation_id: str
    fault: Fault


class PublisherCommands:
    """Applies publishers' messages to conversations and to the devices' outboxes."""

    def __init__(
        self, registry: Registry, opener: ConversationOpener, config: RelayConfig, *, encode: Callable[[Payload], bytes], observed: bool
    ) -> None:
        """`encode` returns a payload's bytes on the wire. `observed`: emit `PayloadsReceived`, at some cost for each message."""
        self._registry = registry
        self._opener = opener
        self._config = config
        self._encode = encode
        self._observed = observed

    def handle(self, publisher: PublisherRecord, message: Command, now_us: int) -> list[Effect]:
        """Handle a message; media in columns goes to `take_media`. Does not raise for invalid messages."""
        match message:
            case Media():
                return self.take_media(publisher, in_columns(message), now_us)
            case PublishOpen():
                return self._open(publisher, message, now_us)
            case DeviceVolume():
                return self._set_volume(publisher, message)
            case EventAck():
                return self._acknowledge(publisher, message)
            case _:
                return self._steer(publisher, message)

    def faulty(self, publisher: PublisherRecord, conversation_id: str, fault: Fault, *, opens: bool) -> list[Effect]:
        """Handle an unparsable message about a conversation: it is not opened, or fails if it is open and belongs to the publisher."""
        found = self._find(publisher, conversation_id)
        if opens:
            publisher.last_opened = conversation_id
            if isinstance(found, CommandRefused) and is_valid_id(conversation_id):
                publisher.close(conversation_id)
            return report_fault(publisher.key, conversation_id, fault)
        return self._fail(found, fault) if isinstance(found, Conversation) else report_fault(publisher.key, conversation_id, fault)

    def blocked(self, publisher: PublisherRecord, message: Media | PublishedMedia) -> bool:
        """Whether a stream without credit must wait, because too much media of the conversation waits for its devices."""
        found = self._find(publisher, message.conversation_id)
        if not isinstance(found, Conversation) or not found.delivering:
            return False
        entries = message.columns if isinstance(message, PublishedMedia) else message.payloads
        return any(found.waiting(kind) >= self._config.window_bytes for kind in {entry.kind for entry in entries})

    def tick(self, publisher: PublisherRecord, now_us: int) -> list[Effect]:
        """Drop media whose `open` did not arrive in time."""
        effects: list[Effect] = []
        for conversation_id, unopened in list(publisher.unopened.items()):
            if unopened.expires_at_us <= now_us:
                effects += self._drop_unopened(publisher, conversation_id)
        return effects

    def restate(self, publisher: PublisherRecord) -> tuple[tuple[Taken, ...], list[ToPublisher]]:
        """For a publisher that reconnected: the media received of each conversation, and the messages that it may have missed."""
        conversations = [self._registry.conversations[conversation_id] for conversation_id in sorted(publisher.conversations)]
        missed: list[ToPublisher] = []
        for conversation in conversations:
            missed.append(Opened(conversation.conversation_id, conversation.device_ids))
            if conversation.media_open:
                missed.append(ConversationCredit(conversation.conversation_id, conversation.credit_left))
        return tuple(conversation.taken for conversation in conversations), missed

    def leave(self, publisher: PublisherRecord, *, lost: bool) -> list[Effect]:
        """End the open conversations of a publisher that sends nothing more: they play out. If `lost`, the fault is reported."""
        effects: list[Effect] = []
        for conversation_id in list(publisher.unopened):
            effects += self._drop_unopened(publisher, conversation_id)
        fault = Fault(Reason.PUBLISHER_LOST, f"publisher {publisher.key} disconnected before `end`; received media plays out")
        for conversation_id in sorted(publisher.conversations):
            conversation = self._registry.conversations[conversation_id]
            if conversation.media_open:
                effects += report_fault(publisher.key, conversation_id, fault) if lost else []
                effects += self._break_off(conversation, FinishReason.PUBLISHER_LOST)
                if publisher.by_hand and not lost:
                    conversation.broken_off = None  # the end of a stream typed by hand is its end
        return effects

    def forget(self, publisher: PublisherRecord, *, lost: bool) -> list[Effect]:
        """Remove a publisher that will not reconnect: `leave`, then treat all its events as acknowledged."""
        effects = self.leave(publisher, lost=lost)
        for session in self._registry.sessions.values():
            session.events.acknowledge(publisher.key)
            session.acknowledge()
            effects.append(WakeDevice(session.device_id))
        return effects

    def _open(self, publisher: PublisherRecord, message: PublishOpen, now_us: int) -> list[Effect]:
        effects = self._opener.open(publisher, message)
        early = publisher.release(publisher.last_opened)
        return effects + (self.take_media(publisher, in_columns(Media(publisher.last_opened, tuple(early))), now_us) if early else [])

    # --- media -----------------------------------------------------------------------------------------------------

    def take_media(self, publisher: PublisherRecord, message: PublishedMedia, now_us: int) -> list[Effect]:
        """Accept media: by columns in the usual case, otherwise one payload at a time."""
        conversation = self._registry.conversations.get(message.conversation_id)
        if conversation is None or conversation.publisher != publisher.key:
            found = self._find(publisher, message.conversation_id)
            if isinstance(found, CommandRefused):
                return self._not_taken(publisher, found, message, now_us)
            conversation = found
        payloads = 0
        for columns in message.columns:
            payloads += len(columns.seqs)
        if not publisher.allowance.take(payloads, now_us):
            text = f"more than {self._config.max_payloads_per_second} payloads per second: send larger ones"
            return self._fail(conversation, Fault(Reason.LIMIT_REACHED, text, "media.payloads"))
        effects: list[Effect] = []
        try:
            for columns in message.columns:
                if not self._receive_columns(publisher, conversation, message, columns, effects, now_us):
                    for payload in _of_kind(message, columns.kind):
                        self._receive_one(publisher, conversation, payload, effects, now_us)
        except ConversationFault as error:
            return effects + self._fail(conversation, error.fault)
        return effects

    def _not_taken(self, publisher: PublisherRecord, found: CommandRefused, message: PublishedMedia, now_us: int) -> list[Effect]:
        match found.fault.reason:
            case Reason.CONVERSATION_CLOSED:
                return self._drop(publisher, found.conversation_id, message.one_by_one().payloads, DropReason.CONVERSATION_CLOSED)
            case Reason.CONVERSATION_UNKNOWN if is_valid_id(found.conversation_id):
                return self._hold(publisher, found.conversation_id, message.one_by_one().payloads, now_us)
            case _:
                return report_fault(publisher.key, found.conversation_id, found.fault)

    def _receive_columns(
        self,
        publisher: PublisherRecord,
        conversation: Conversation,
        message: PublishedMedia,
        columns: PayloadColumns,
        effects: list[Effect],
        now_us: int,
    ) -> bool:
        """Accept payloads of one kind at once; False, with the state unchanged, if any of them needs individual handling."""
        cid, (kind, seqs, pts_us, _, sizes, _, totals) = conversation.conversation_id, columns
        size_bytes = sum(sizes)
        largest = max(size_bytes, totals[0]) if len(sizes) == 1 else max(*sizes, *totals)
        for device_id in conversation.delivering:
            if largest > self._registry.sessions[device_id].smallest_buffer:
                return False
        if not conversation.receive_columns(columns, size_bytes, credited=not publisher.by_hand):
            return False
        encoded = () if message.encoded is not None else [self._encode(payload) for payload in _of_kind(message, kind)]
        if self._observed:
            effects.append(PayloadsReceived(cid, kind, len(sizes), size_bytes))
        taken = (kind, seqs, pts_us, sizes, now_us, size_bytes, encoded, message.encoded, 0)
        self._deliver(conversation, _new(PayloadBatch, taken), effects)
        return True

    def _receive_one(
        self, publisher: PublisherRecord, conversation: Conversation, payload: Payload, effects: list[Effect], now_us: int
    ) -> None:
        """Accept one payload. Raises `ConversationFault`."""
        effects += self._check_size(conversation, payload)
        conversation.skip(self._registry.held_by_all(conversation))
        taken = conversation.receive(payload, credited=not publisher.by_hand)
        if isinstance(taken, DropReason):
            effects += self._drop(publisher, conversation.conversation_id, (payload,), taken)
            effects += self.credit(conversation)
            return
        pieces = taken.fragments
        if self._observed:
            effects.append(PayloadsReceived(conversation.conversation_id, payload.kind, 1, len(payload.data)))
        sizes, seqs = [len(piece.data) for piece in pieces], [piece.seq for piece in pieces]
        encoded = [self._encode(piece) for piece in pieces]
        batch = PayloadBatch(payload.kind, seqs, [taken.due_us] * len(pieces), sizes, now_us, sum(sizes), encoded)
        self._deliver(conversation, batch, effects)

    def _check_size(self, conversation: Conversation, payload: Payload) -> list[Effect]:
        """Remove devices whose buffer is too small. Raises `ConversationFault` if it is the conversation's only device."""
        total = max(payload.total_bytes, len(payload.data))
        effects: list[Effect] = []
        for session in self._registry.on_devices(conversation):
            room = session.largest(conversation.conversation_id, payload.kind)
            if total > room:
                text = f"a {payload.kind.value} payload of {total} bytes; device {session.device_id} can buffer {room}: cut it smaller"
                fault = Fault(Reason.PAYLOAD_TOO_LARGE, text, "media.payloads.data")
                if len(conversation.device_ids) == 1:
                    raise ConversationFault(fault)
                effects += self._leave_out(conversation, session, fault)
        return effects

    def _deliver(self, conversation: Conversation, batch: PayloadBatch, effects: list[Effect]) -> None:
        for device_id in tuple(conversation.delivering):
            session, rest = self._registry.sessions[device_id], batch
            if batch.kind in session.deliveries[conversation.conversation_id].spared_kinds and (
                spared := session.spares(conversation.conversation_id, batch)
            ):
                conversation.sent(session.device_id, batch.kind, sum(batch.sizes[:spared]))
                effects += self.credit(conversation)
                if spared == len(batch.seqs):
                    continue
                rest = batch.cut(spared)[1]
            if session.outbox.put_media(conversation.conversation_id, rest) > self._config.lag_bytes:
                text = f"device {session.device_id} lags more than {self._config.lag_bytes} bytes behind its group"
                effects += self._leave_out(conversation, session, Fault(Reason.LIMIT_REACHED, text))
            else:
                effects.append(session.media_waits)

    def _leave_out(self, conversation: Conversation, session: Session, fault: Fault) -> list[Effect]:
        """Cut the conversation on one member of a group; it continues on the others."""
        finished = Finished(0, interrupted=True, reason=FinishReason.FAILED.value)
        effects = report_fault(conversation.publisher, conversation.conversation_id, fault, session.device_id)
        return effects + cut_on(self._registry, conversation.conversation_id, session, finished)

    def credit(self, conversation: Conversation) -> list[Effect]:
        """Return publisher credit, if enough was sent or dropped."""
        grant = conversation.released()
        publisher = self._registry.publishers.get(conversation.publisher)
        if grant is None or publisher is None or publisher.by_hand or not conversation.media_open:
            return []
        return [TellPublisher(publisher.key, ConversationCredit(conversation.conversation_id, grant))]

    def _hold(self, publisher: PublisherRecord, conversation_id: str, payloads: tuple[Payload, ...], now_us: int) -> list[Effect]:
        kept = [publisher.hold(conversation_id, payload, now_us) for payload in payloads]
        over = tuple(payload for payload, room in zip(payloads, kept, strict=True) if not room)
        return self._drop(publisher, conversation_id, over, DropReason.CONVERSATION_UNKNOWN)

    def _drop_unopened(self, publisher: PublisherRecord, conversation_id: str) -> list[Effect]:
        payloads = tuple(publisher.release(conversation_id))
        text = f"media came for conversation {conversation_id}, which is not open"
        effects = report_fault(publisher.key, conversation_id, Fault(Reason.CONVERSATION_UNKNOWN, text, "media.conversation_id"))
        return effects + self._drop(publisher, conversation_id, payloads, DropReason.CONVERSATION_UNKNOWN)

    def _drop(self, publisher: PublisherRecord, conversation_id: str, payloads: tuple[Payload, ...], reason: DropReason) -> list[Effect]:
        effects: list[Effect] = []
        for kind in Kind:
            sizes = [len(payload.data) for payload in payloads if payload.kind is kind]
            if sizes:
                body = Dropped(kind, len(sizes), sum(sizes), reason.value)
                effects += tell_event(publisher.key, PlayerEvent(MADE_BY_RELAY, conversation_id, body))
        return effects

    # --- steering --------------------------------------------------------------------------------------------------

    def _steer(self, publisher: PublisherRecord, message: AudioOnly | ConversationEnd | Interrupt | Pause | Resume) -> list[Effect]:
        found = self._find(publisher, message.conversation_id)
        if not isinstance(found, Conversation):
            if isinstance(message, Interrupt) and found.fault.reason is Reason.CONVERSATION_CLOSED:
                return []  # it finished while the interrupt was on its way
            return report_fault(publisher.key, found.conversation_id, found.fault)
        try:
            return self._apply(found, message)
        except ConversationFault as error:
            if found.media_open:
                return self._fail(found, error.fault)
            return report_fault(publisher.key, found.conversation_id, error.fault)

    def _apply(self, conversation: Conversation, message: AudioOnly | ConversationEnd | Interrupt | Pause | Resume) -> list[Effect]:
        conversation_id = conversation.conversation_id
        playing = [self._registry.sessions[device_id] for device_id in conversation.device_ids if device_id in conversation.playing]
        match message:
            case AudioOnly():
                conversation.make_audio_only()
                for session in self._registry.on_devices(conversation):
                    session.audio_only(conversation_id)
            case ConversationEnd():
                conversation.skip(self._registry.held_by_all(conversation))
                return self._end(conversation, conversation.end(message.last_audio_seq, message.last_motion_seq))
            case Interrupt():
                return self._cut_everywhere(conversation, FinishReason.INTERRUPTED)
            case Pause() | Resume():
                for session in playing:
                    session.steer(type(message)(conversation_id))
        return [WakeDevice(session.device_id) for session in playing]

    def _cut_everywhere(self, conversation: Conversation, reason: FinishReason) -> list[Effect]:
        """Interrupt a conversation on all its devices."""
        finished = Finished(0, interrupted=True, reason=reason.value)
        effects: list[Effect] = []
        for device_id in sorted(conversation.playing):
            session = self._registry.sessions[device_id]
            if not session.deliveries[conversation.conversation_id].cut:
                effects += cut_on(self._registry, conversation.conversation_id, session, finished)
        return effects

    def _end(self, conversation: Conversation, end: ConversationEnd) -> list[Effect]:
        sessions = self._registry.on_devices(conversation)
        for session in sessions:
            session.end(end)
        ended = ConversationEnded(conversation.cursor, conversation.device_ids)
        return [ended, *(WakeDevice(session.device_id) for session in sessions)]

    def _fail(self, conversation: Conversation, fault: Fault) -> list[Effect]:
        effects = report_fault(conversation.publisher, conversation.conversation_id, fault)
        return effects + self._break_off(conversation, FinishReason.FAILED)

    def _break_off(self, conversation: Conversation, reason: FinishReason) -> list[Effect]:
        """Accept no more media: what was received plays out. Without any audio, the conversation is interrupted."""
        if not conversation.media_open:
            return []
        end = conversation.break_off(reason)
        return self._cut_everywhere(conversation, reason) if end is None else self._end(conversation, end)

    # --- devices ---------------------------------------------------------------------------------------------------

    def _set_volume(self, publisher: PublisherRecord, message: DeviceVolume) -> list[Effect]:
        session = self._registry.sessions.get(message.device_id)
        if session is None:
            fault = Fault(Reason.DEVICE_UNKNOWN, f"no device of the name {message.device_id[:64]!r} is known here", "volume.device_id")
            return report_fault(publisher.key, "", fault, message.device_id[:64])
        return session.set_volume(message.volume)

    def _acknowledge(self, publisher: PublisherRecord, message: EventAck) -> list[Effect]:
        publisher.acknowledge(message.device_id, message.event_id)
        session = self._registry.sessions.get(message.device_id)
        if session is None:
            return []
        session.events.acknowledge(publisher.key, message.event_id)
        session.acknowledge()
        return [WakeDevice(session.device_id)]

    def _find(self, publisher: PublisherRecord, conversation_id: str) -> Conversation | CommandRefused:
        """The publisher's conversation with this id. An empty id means the one opened last."""
        conversation_id = conversation_id or publisher.last_opened
        conversation = self._registry.conversations.get(conversation_id)
        if conversation is None:
            if conversation_id in publisher.closed:
                text = f"conversation {conversation_id} is over"
                return CommandRefused(conversation_id, Fault(Reason.CONVERSATION_CLOSED, text, "conversation_id"))
            text = f"conversation {conversation_id[:64]!r} was never opened on this stream"
            return CommandRefused(conversation_id, Fault(Reason.CONVERSATION_UNKNOWN, text, "conversation_id"))
        if conversation.publisher != publisher.key:
            text = f"conversation {conversation_id} belongs to another publisher"
            return CommandRefused(conversation_id, Fault(Reason.CONVERSATION_NOT_YOURS, text, "conversation_id"))
        return conversation


def _of_kind(message: PublishedMedia, kind: Kind) -> list[Payload]:
    return [payload for payload in message.one_by_one().payloads if payload.kind is kind]
