"""All conversations of a publisher over one stream: opening, the relay's answers, and recovery after a cut.

Rules:
1. A cut fails nothing. Data that devices do not hold yet is kept, and more is accepted meanwhile.
2. A relay that knows the session reports its progress in each conversation; each continues behind that. One that was
   interrupted, or stopped by a fault, is interrupted again, since that message may have been lost.
   One that other publishers have replaced on all its devices is interrupted when it has been opened again.
3. A conversation that the relay does not have (it restarted, or `open` was lost) is opened again on the devices that have
   not finished it. An absent device is retried for `REOPEN_US`; one that holds no more of it has lost it: the end that the
   relay would have made is made here.
4. Faults that arrive before `opened` may concern some targets only. The relay's answers to one `open` arrive together, so
   if a pong follows such a fault without `opened`, the conversation was opened nowhere and has failed.
5. A fault that the relay reports later stops the publishing; its outcome is still reported by the devices, unless the
   conversation is not ours (`_FOREIGN`). If all devices finish it before its end was sent, publishing stops as well.
   The owner learns of it at the next audio (`stopped`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import assert_never

from avatar_relay.limits import DEVICE_LEASE_US, MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import Cursor, OnPlaying
from avatar_relay.messages import (
    ConversationCredit,
    ConversationError,
    Dropped,
    Finished,
    FromPublisher,
    GoAway,
    Held,
    Interrupt,
    Opened,
    Pause,
    Ping,
    PlayerEvent,
    Pong,
    PublisherWelcome,
    PublishOpen,
    Resume,
    Taken,
    ToPublisher,
    UnknownEvent,
)
from avatar_relay.publisher.conversation_record import Record, Told
from avatar_relay.publisher.playback_tracker import ConversationFinished, SeenEvents
from avatar_relay.publisher.published_conversation import Phase
from avatar_relay.publisher.send_queue import SendQueue
from avatar_relay.reasons import Fault, FinishReason, Reason

_FOREIGN = frozenset({Reason.CONVERSATION_UNKNOWN, Reason.CONVERSATION_NOT_YOURS})
_ALREADY_SAID = frozenset({Reason.CONVERSATION_ENDED, Reason.CONVERSATION_CLOSED})
_NOT_OPEN = frozenset({Reason.CONVERSATION_UNKNOWN, Reason.CONVERSATION_CLOSED})
_LATER = frozenset({Reason.DEVICE_UNKNOWN, Reason.DRAINING})
"""Answers to reopening that mean: not yet."""
REOPEN_US = DEVICE_LEASE_US
"""How long devices are awaited after a cut: as long as a relay would keep their sessions."""
TOLD_AGAIN_US = 6_000_000
"""Time limit for a device to repeat its unacknowledged events, which it does every two seconds."""
AGAIN_MS = 50
"""Minimum pause between two attempts."""
_BARRIER = Ping(0, 0)
"""A ping whose pong shows that all answers before it have arrived."""


class PublisherSession:
    """Keeps the records and the outbox. Pure except for the callbacks of its records; not thread-safe."""

    def __init__(self, *, hold_us: int = 0) -> None:
        self.outbox = SendQueue(hold_us=hold_us)
        self.remembered = MAX_CLOSED_CONVERSATIONS
        """How many conversations are remembered after they are over, at about 8 KB each."""
        self.last_pong_id = 0
        """The relay has received everything that was sent before the ping of this id."""
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._live: list[Record] = []
        """The records that were not over at the last call of `_unfinished`."""
        self._again_due_us: dict[str, int] = {}
        """When to try again to open a conversation."""
        self._ledger = SeenEvents()
        self._is_cut = False
        self._patient_until_us = 0
        """The relay is new: until then devices may still be reconnecting to it."""
        self._unopened: dict[str, Fault] = {}

    def record(self, conversation_id: str) -> Record | None:
        """Return a conversation; the last `remembered` that are over are known, too."""
        return self._records.get(conversation_id)

    def open(self, record: Record, targets: tuple[str, ...], now_us: int) -> None:
        """Open a conversation. Raises `BufferFullError`."""
        record.targets = targets
        if not self._is_cut:  # otherwise the next stream opens it
            nothing = None
            if now_us < self._patient_until_us:
                record.again_until_us, nothing = self._patient_until_us, record.conversation.held
                record.conversation.suspended = True
            self.outbox.say(PublishOpen(record.conversation.opening, targets, nothing))
        self._records[record.conversation_id] = record
        self._live.append(record)
        self.stir(record)
        self._forget()

    def stir(self, record: Record) -> None:
        """Notify that this conversation may have something to send now."""
        self.outbox.add(record.conversation)

    def say(self, message: FromPublisher) -> None:
        """Queue a message other than media. Raises `BufferFullError`."""
        self.outbox.say(message)
        if isinstance(message, Pause | Resume) and (record := self._records.get(message.conversation_id)) is not None:
            record.steered = message

    def close(self, record: Record) -> None:
        """Discard and report the waiting data of a conversation."""
        for dropped in record.conversation.close():
            self.tell_dropped(record, dropped)
        self.stir(record)
        record.moved()

    def end_all(self, now_us: int) -> None:
        """End all open conversations; those without audio are interrupted. Raises `BufferFullError`."""
        for record in self._unfinished():
            if record.conversation.takes_audio:
                record.conversation.finish_audio()
            if record.conversation.phase in (Phase.OPEN, Phase.AUDIO_ENDED) and record.conversation.has_audio:
                record.conversation.end_all(now_us)
                self.stir(record)
            elif record.conversation.phase is Phase.OPEN:
                self.say(Interrupt(record.conversation_id))
                self.close(record)

    def tell_dropped(self, record: Record, dropped: Dropped) -> None:
        """Report data dropped here, as a device would."""
        record.told(PlayerEvent(0, record.conversation_id, dropped))

    def next_message(self, now_us: int) -> FromPublisher | None:
        """The next message to send."""
        message = self.outbox.next_message(now_us)
        if (record := self._records.get(getattr(message, "conversation_id", ""))) is not None:
            record.moved()
        return message

    def handle(self, message: ToPublisher, now_us: int) -> None:
        """Process a message from the relay."""
        match message:
            case Opened(conversation_id, device_ids):
                self._unopened.pop(conversation_id, None)
                self._on(conversation_id, lambda record: self._on_opened(record, device_ids))
            case ConversationCredit(conversation_id, credit):
                self._on(conversation_id, lambda record: record.conversation.grant(credit))
            case PlayerEvent() | UnknownEvent():
                self._on_event(message, now_us)
            case ConversationError():
                self._on(message.conversation_id, lambda record: self._on_error(record, message, now_us))
            case Pong(ping_id):
                self.last_pong_id = max(self.last_pong_id, ping_id)
                self._fail_unopened()
            case Held():
                for cursor in message.cursors:
                    if (record := self._records.get(cursor.conversation_id)) is not None:
                        self._on_held(record, message.device_id, cursor)
            case GoAway() | PublisherWelcome():
                pass
            case _:
                assert_never(message)

    def _on(self, conversation_id: str, act: Callable[[Record], None]) -> None:
        if (record := self._records.get(conversation_id)) is not None:
            act(record)
            self.stir(record)
            record.moved()

    def _on_opened(self, record: Record, device_ids: tuple[str, ...]) -> None:
        record.playback.on_opened(device_ids)
        if record.again_until_us and (record.conversation.phase is Phase.CLOSED or record.is_taken_over):
            self.outbox.repeat([Interrupt(record.conversation_id)])  # it was given up or replaced before it was opened again
        elif record.again_until_us and record.steered is not None:
            self.outbox.repeat([record.steered])
        self._again_due_us.pop(record.conversation_id, None)
        record.targets, record.again_until_us, record.conversation.suspended = device_ids, 0, False

    def _on_held(self, record: Record, device_id: str, cursor: Cursor) -> None:
        """Keep only what a device lacks; devices that have finished it do not count."""
        record.held[device_id] = cursor
        lacking = [device for device in record.playback.device_ids if not record.playback.is_finished_on(device)]
        cursors = [record.held.get(device, Cursor(record.conversation_id)) for device in lacking]
        if cursors:
            audio, motion = min(held.audio_seq for held in cursors), min(held.motion_seq for held in cursors)
            record.conversation.release(Cursor(record.conversation_id, audio, motion))

    def _on_event(self, event: PlayerEvent | UnknownEvent, now_us: int) -> None:
        if event.event_id:
            self.outbox.acknowledge(event.device_id, event.event_id)
        if isinstance(event, UnknownEvent) or not self._ledger.is_new(event):
            return
        record = self._records.get(event.conversation_id)
        if record is None or (isinstance(event.body, Finished) and record.playback.is_finished_on(event.device_id)):
            return  # two relays that did not know of each other may each have made an end
        if (news := record.news(event)) is None:
            return
        event = news
        record.playback.on_event(event)
        if record.again_until_us:
            self._is_done_everywhere(record)  # then it must not be opened again, maybe at a relay that does not know its end
        record.conversation.heard(event.device_id, event.body, now_us)
        self.stir(record)
        outcome = record.playback.outcome
        if isinstance(outcome, ConversationFinished) and record.conversation.phase not in (Phase.ENDED, Phase.CLOSED):
            if record.cut_short is None and outcome.reason == FinishReason.COMPLETED:
                record.conversation.close()  # the waiting data was played: it had been sent to a relay that is gone
            else:
                text = f"the devices finished it before its end was sent: {outcome.reason}"
                self._stop(record, Fault(Reason.CONVERSATION_CLOSED, text))
        if record.is_over:
            record.conversation.forget()
        record.told(event)
        record.moved()

    def _on_error(self, record: Record, error: ConversationError, now_us: int) -> None:
        said_all = record.conversation.phase in (Phase.ENDED, Phase.CLOSED)
        was_open = error.fault.reason is Reason.CONVERSATION_TAKEN_OVER  # its devices report its end
        if was_open:
            record.taken_from.add(error.device_id)
        if record.is_over or (record.again_until_us and self._ask_again(record, error, now_us)):
            return
        if record.again_until_us and error.fault.reason is Reason.CONVERSATION_ID_TAKEN:
            text = "the relay ended it while this publisher was away, and what the devices reported of it is lost"
            error = replace(error, fault=Fault(Reason.PUBLISHER_LOST, text))
        if (record.again_until_us or record.conversation.suspended) and error.fault.reason in _NOT_OPEN:
            return  # answers a command sent before it is opened again; an interrupt is resent then
        if record.again_until_us and record.playback.is_opened and not was_open:
            if error.device_id and error.fault.reason in (*_LATER, Reason.DEVICE_LOST):
                self._lose_device(record, error.device_id, now_us)
            else:
                self.fail(record, error.fault)
            return
        if error.fault.reason is Reason.DRAINING:
            record.conversation.suspended = True  # handed back: it continues at the next relay, or is opened there
            return
        if said_all and error.fault.reason in _ALREADY_SAID:
            return
        if not record.playback.is_opened and not was_open:
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
        """Fail conversations that were opened nowhere (rule 4)."""
        for conversation_id, fault in self._unopened.items():
            if (record := self._records.get(conversation_id)) is not None:
                record.playback.fail(fault)
                self._stop(record, fault)
        self._unopened.clear()

    def cut(self) -> None:
        """The stream was lost (rule 1)."""
        self._is_cut = True
        self.outbox.forget_control()
        self._unopened.clear()
        self._again_due_us.clear()  # `resumed` asks the next relay

    def resumed(self, taken: Iterable[Taken], now_us: int) -> None:
        """A new stream is open; `taken` is its relay's progress in the conversations that it has (rules 2 and 3)."""
        self._is_cut = False
        known = {item.cursor.conversation_id: item for item in taken}
        self._patient_until_us = now_us + (0 if known else REOPEN_US)
        first_words: list[FromPublisher] = []
        for record in self._unfinished():
            item = known.get(record.conversation_id)
            if item is None and self._is_done_everywhere(record):
                continue
            if record.conversation.phase is not Phase.CLOSED:
                record.conversation.rewind(item or Taken(record.conversation.held))
                self.stir(record)
            if item is None:
                record.again_until_us = now_us + REOPEN_US
                first_words.append(self._again(record))
            elif record.conversation.phase is Phase.CLOSED:
                first_words.append(Interrupt(record.conversation_id))
            else:
                if item.ended and (record.conversation.phase is not Phase.ENDED or record.conversation.is_waiting):
                    fault = Fault(Reason.PUBLISHER_LOST, "the relay ended it while there was no stream; what arrived plays out")
                    self._stop(record, fault)
                    record.told(ConversationError(record.conversation_id, fault))
                if record.steered is not None:
                    first_words.append(record.steered)
        self.outbox.repeat(first_words)

    def _is_done_everywhere(self, record: Record) -> bool:
        """Whether all targets reported the end although `opened` never arrived: then it is over, and not opened again."""
        if not record.targets or not all(record.playback.is_finished_on(target) for target in record.targets):
            return False
        record.playback.on_opened(record.targets)
        record.conversation.forget()
        record.moved()
        return True

    @property
    def has_nothing_to_say(self) -> bool:
        """Whether no conversation needs another stream."""
        return all(record.conversation.phase is Phase.CLOSED for record in self._unfinished())

    def _again(self, record: Record) -> PublishOpen:
        """The message that opens a conversation again, where it has not finished."""
        self._again_due_us.pop(record.conversation_id, None)
        targets = tuple(target for target in record.targets if not record.playback.is_finished_on(target))
        opening = record.conversation.opening
        if record.is_taken_over:
            opening = replace(opening, on_playing=OnPlaying.QUEUE)  # it must not replace what has replaced it
        return PublishOpen(opening, targets, record.conversation.held)

    @property
    def deadline_us(self) -> int | None:
        """`tick` has nothing to do before this time."""
        outbox_us = self.outbox.deadline_us
        return min([*self._again_due_us.values(), *([] if outbox_us is None else [outbox_us])], default=None)

    def tick(self, now_us: int) -> None:
        """Apply time-outs, and retry on devices that were absent."""
        self.outbox.tick(now_us)
        for conversation_id, due_us in tuple(self._again_due_us.items()):
            record = self._records.get(conversation_id)
            if record is None or record.is_over:
                del self._again_due_us[conversation_id]
            elif due_us <= now_us:
                self.outbox.repeat([self._again(record)])

    def _ask_again(self, record: Record, error: ConversationError, now_us: int) -> bool:
        """Whether the answer to a reopening means that a later attempt may succeed; schedules it."""
        pause_ms = AGAIN_MS
        if error.fault.reason is Reason.CONVERSATION_ID_TAKEN:  # it finished meanwhile; its device repeats that until acknowledged
            record.again_until_us = min(record.again_until_us, now_us + TOLD_AGAIN_US)
            pause_ms = 10 * AGAIN_MS
        elif error.fault.reason not in _LATER:
            return False
        self._again_due_us[record.conversation_id] = now_us + max(error.fault.retry_after_ms, pause_ms) * 1_000
        return now_us < record.again_until_us

    def _lose_device(self, record: Record, device_id: str, now_us: int) -> None:
        """A device cannot continue: end the conversation there, as the relay would have."""
        record.targets = tuple(target for target in record.targets if target != device_id)
        body = Finished(record.playback.position_us, interrupted=True, reason=FinishReason.DEVICE_LOST.value)
        self._on_event(PlayerEvent(0, record.conversation_id, body, device_id), now_us)

    def fail_all(self, fault: Fault) -> None:
        """Fail all unfinished conversations: nothing more will be received about them (rule 3)."""
        self._unopened.clear()
        for record in self._unfinished():
            self.fail(record, fault)

    def abandon(self, fault: Fault) -> None:
        """The owner leaves: all waiting callers get `fault`, and no more events are delivered."""
        for record in self._unfinished():
            record.told = _nobody
            self.fail(record, fault)

    def fail(self, record: Record, fault: Fault) -> None:
        """Fail a conversation: nothing more will be received about it."""
        self._again_due_us.pop(record.conversation_id, None)
        record.playback.fail(fault)
        self._stop(record, fault)
        record.told(ConversationError(record.conversation_id, fault))

    def _unfinished(self) -> list[Record]:
        """Records that are not over, as a copy: a listener may open another conversation."""
        self._live = [record for record in self._live if not record.is_over]
        return self._live.copy()

    def _forget(self) -> None:
        excess = len(self._records) - len(self._unfinished()) - self.remembered
        over = (record.conversation_id for record in self._records.values() if record.is_over)
        for conversation_id in list(islice(over, max(excess, 0))):
            del self._records[conversation_id]


def _nobody(_: Told) -> None:
    """Discard an event."""
