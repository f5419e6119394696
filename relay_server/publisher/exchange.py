"""All conversations of a publisher over one stream: what is opened, what the relay answers, what a cut does to them.

Rules:
1. A conversation whose media or end has not gone out when the stream is cut fails, because nobody knows what of it
   arrived; what devices hold of it plays out.
2. One that has said its last word (end, interrupt) says it again on the next stream, since it may have been on its way,
   and goes on waiting for its devices. A repeated last word that the relay knew already is answered with a fault, ignored.
3. All that are unfinished fail where the relay does not know the publisher's session any more, or its lease is over.
4. Faults that come before `opened` may concern some targets only. What the relay says about one `open` comes together, so
   where a pong comes after such a fault and `opened` did not, the conversation was opened nowhere and has failed.
5. A fault that the relay reports later stops the publishing; how it ended is still told by the devices, except where the
   conversation is not ours (`_FOREIGN`). Where all devices finish it before its end was said, publishing stops as well.
   The owner learns of it at the next sound (`stopped`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.messages import (
    ConversationCredit,
    ConversationEnd,
    ConversationError,
    Dropped,
    FromPublisher,
    GoAway,
    Held,
    Interrupt,
    Opened,
    Ping,
    PlayerEvent,
    Pong,
    PublisherWelcome,
    PublishOpen,
    ToPublisher,
)
from avatar_relay.reasons import Fault, Reason
from relay_server.publisher.conversation import Conversation, Phase
from relay_server.publisher.outbox import Outbox
from relay_server.publisher.playback import ConversationFinished, EventLedger, Playback

_FOREIGN = frozenset({Reason.CONVERSATION_UNKNOWN, Reason.CONVERSATION_NOT_YOURS})
_ALREADY_SAID = frozenset({Reason.CONVERSATION_ENDED, Reason.CONVERSATION_CLOSED})
_BARRIER = Ping(0, 0)
"""Any pong will do; this one makes it come at once."""

Told = PlayerEvent | ConversationError
"""What a conversation's owner is told of it."""


@dataclass(slots=True, eq=False)
class Record:
    """A conversation with what is known of its playback. `moved` is called after each change, `told` with each event."""

    conversation: Conversation
    playback: Playback
    moved: Callable[[], None]
    told: Callable[[Told], None]
    stopped: Fault | None = None
    """Why it takes no more, where that was not its owner's wish."""

    @property
    def conversation_id(self) -> str:
        """Its id."""
        return self.conversation.conversation_id

    @property
    def is_over(self) -> bool:
        """Whether its outcome is known."""
        return self.playback.outcome is not None


class Exchange:
    """Keeps the records and the outbox. Pure but for the callbacks of its records; not thread-safe."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.last_pong_id = 0
        """All that was said before the ping of this id, the relay has taken."""
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._ledger = EventLedger()
        self._cut_off: list[str] = []
        self._unopened: dict[str, Fault] = {}

    def record(self, conversation_id: str) -> Record | None:
        """A conversation; the last `MAX_CLOSED_CONVERSATIONS` that are over are remembered."""
        return self._records.get(conversation_id)

    def open(self, record: Record, targets: tuple[str, ...]) -> None:
        """Open a conversation. Raises `BufferFullError`."""
        self.outbox.say(PublishOpen(record.conversation.opening, targets))
        self._records[record.conversation_id] = record
        self.outbox.add(record.conversation)
        self._forget()

    def say(self, message: FromPublisher) -> None:
        """Say something beside media. Raises `BufferFullError`."""
        self.outbox.say(message)

    def ping(self, ping: Ping) -> None:
        """Say that we live."""
        self.outbox.ping(ping)

    def close(self, record: Record) -> None:
        """Throw away what waits of a conversation, and tell what that was."""
        for dropped in record.conversation.close():
            self.tell_dropped(record, dropped)
        record.moved()

    def end_all(self, now_us: int) -> None:
        """Say the end of whatever is open; what has no sound yet is interrupted. Raises `BufferFullError`."""
        for record in self._unfinished():
            if record.conversation.phase in (Phase.OPEN, Phase.AUDIO_ENDED) and record.conversation.has_audio:
                record.conversation.end_all(now_us)
            elif record.conversation.phase is Phase.OPEN:
                self.say(Interrupt(record.conversation_id))
                self.close(record)

    def tell_dropped(self, record: Record, dropped: Dropped) -> None:
        """Report what was dropped here, as a device would."""
        record.told(PlayerEvent(0, record.conversation_id, dropped))

    def next_message(self) -> FromPublisher | None:
        """What goes out now."""
        message = self.outbox.next_message()
        conversation_id = getattr(message, "conversation_id", None)
        record = self._records.get(conversation_id) if conversation_id else None
        if record is not None:
            record.moved()
        return message

    def handle(self, message: ToPublisher) -> None:
        """The relay says something."""
        match message:
            case Opened(conversation_id, device_ids):
                self._unopened.pop(conversation_id, None)
                self._on(conversation_id, lambda record: record.playback.on_opened(device_ids))
            case ConversationCredit(conversation_id, credit):
                self._on(conversation_id, lambda record: record.conversation.grant(credit))
            case PlayerEvent():
                self._on_event(message)
            case ConversationError():
                self._on(message.conversation_id, lambda record: self._on_error(record, message))
            case Pong(ping_id):
                self.last_pong_id = max(self.last_pong_id, ping_id)
                self._fail_unopened()
            case Held() | GoAway() | PublisherWelcome():
                pass
            case _:
                assert_never(message)

    def _on(self, conversation_id: str, act: Callable[[Record], None]) -> None:
        record = self._records.get(conversation_id)
        if record is not None:
            act(record)
            record.moved()

    def _on_event(self, event: PlayerEvent) -> None:
        if event.event_id:
            self.outbox.acknowledge(event.device_id, event.event_id)
        if not self._ledger.is_new(event):
            return
        record = self._records.get(event.conversation_id)
        if record is None:
            return
        record.playback.on_event(event)
        outcome = record.playback.outcome
        if isinstance(outcome, ConversationFinished) and record.conversation.phase not in (Phase.ENDED, Phase.CLOSED):
            text = f"the devices finished it before its end was said: {outcome.reason}"
            self._stop(record, Fault(Reason.CONVERSATION_CLOSED, text))
        record.told(event)
        record.moved()

    def _on_error(self, record: Record, error: ConversationError) -> None:
        said_all = record.conversation.phase in (Phase.ENDED, Phase.CLOSED)
        if record.is_over or (said_all and error.fault.reason in _ALREADY_SAID):
            return
        if not record.playback.is_opened:
            self._unopened.setdefault(record.conversation_id, error.fault)
            self.outbox.ping(_BARRIER)
        elif not error.device_id:
            if error.fault.reason in _FOREIGN:
                record.playback.fail(error.fault)
            if not said_all:
                self._stop(record, error.fault)
        record.told(error)

    def _stop(self, record: Record, fault: Fault) -> None:
        record.stopped = record.stopped or fault
        self.close(record)

    def _fail_unopened(self) -> None:
        """Rule 4."""
        for conversation_id, fault in self._unopened.items():
            record = self._records.get(conversation_id)
            if record is not None:
                record.playback.fail(fault)
                self._stop(record, fault)
        self._unopened.clear()

    def cut(self) -> None:
        """The stream is gone (rule 1)."""
        self.outbox.forget_control()
        fault = Fault(Reason.PUBLISHER_LOST, "the stream to the relay broke off before all of it was sent; what arrived plays out")
        for record in self._unfinished():
            if record.conversation.phase not in (Phase.ENDED, Phase.CLOSED):
                self._cut_off.append(record.conversation_id)
                self._fail(record, fault)

    def resumed(self) -> None:
        """A new stream of the same session stands (rules 1 and 2)."""
        last_words: list[FromPublisher] = [ConversationEnd(conversation_id) for conversation_id in self._cut_off]
        for record in self._unfinished():
            ended = record.conversation.phase is Phase.ENDED
            last_words.append(ConversationEnd(record.conversation_id) if ended else Interrupt(record.conversation_id))
        self._cut_off.clear()
        self.outbox.repeat(last_words)

    def fail_all(self, fault: Fault) -> None:
        """Nothing more will be heard of any conversation (rule 3)."""
        self._cut_off.clear()
        self._unopened.clear()
        for record in self._unfinished():
            self._fail(record, fault)

    def abandon(self, fault: Fault) -> None:
        """The owner leaves: whoever waits for an outcome gets `fault`, and nothing more is told."""
        for record in self._unfinished():
            record.told = _nobody
            self._fail(record, fault)

    def _fail(self, record: Record, fault: Fault) -> None:
        record.playback.fail(fault)
        self._stop(record, fault)
        record.told(ConversationError(record.conversation_id, fault))

    def _unfinished(self) -> Iterator[Record]:
        return iter([record for record in self._records.values() if not record.is_over])

    def _forget(self) -> None:
        over = [record.conversation_id for record in self._records.values() if record.is_over]
        for conversation_id in over[: max(len(over) - MAX_CLOSED_CONVERSATIONS, 0)]:
            del self._records[conversation_id]


def _nobody(_: Told) -> None:
    """Told to nobody."""
