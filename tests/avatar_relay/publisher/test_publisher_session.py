"""Conversations whose first answer or last payloads were lost with a stream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind, OnPlaying
from avatar_relay.messages import (
    ConversationCredit,
    ConversationEnd,
    ConversationError,
    Dropped,
    Finished,
    Interrupt,
    Media,
    Opened,
    Pause,
    PlayerEvent,
    Pong,
    PublishOpen,
    Resume,
    Taken,
)
from avatar_relay.publisher.conversation_record import Record, Told
from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackTracker
from avatar_relay.publisher.published_conversation import Phase, PublishedConversation
from avatar_relay.publisher.publisher_session import TOLD_AGAIN_US, PublisherSession
from avatar_relay.reasons import DropReason, Fault, Reason
from tests.avatar_relay.publisher.fakes import AVATARKIT, PCM_16K

NOW_US = 1_000_000
COMPLETED = Finished(20_000, interrupted=False, reason="completed")
REPLACED = Finished(0, interrupted=True, reason="replaced")
TAKEN = Fault(Reason.CONVERSATION_ID_TAKEN, "it exists or existed")


def spoken() -> tuple[PublisherSession, Record, list[Told]]:
    """A conversation with sound; its `open` was sent, and the stream was cut before any answer."""
    exchange, told = PublisherSession(), list[Told]()
    conversation = PublishedConversation(ConversationOpen("c1", PCM_16K, AVATARKIT), buffer_bytes=1 << 20)
    conversation.push_audio(bytes(640))
    record = Record(conversation, PlaybackTracker("c1"), lambda: None, told.append)
    exchange.open(record, ("lobby",), NOW_US)
    while exchange.next_message(0) is not None:
        pass
    exchange.cut()
    exchange.resumed((), NOW_US)
    return exchange, record, told


def test_an_end_that_the_relay_made_is_told_once() -> None:
    """It has no id, and is repeated on each new stream."""
    exchange, record, told = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    for _ in range(2):
        exchange.handle(PlayerEvent(0, "c1", REPLACED, "lobby"), NOW_US)
    assert [event.body for event in told if isinstance(event, PlayerEvent) and isinstance(event.body, Finished)] == [REPLACED]
    assert isinstance(record.playback.outcome, ConversationFinished)


def test_what_finished_before_it_was_known_to_be_open_has_that_outcome() -> None:
    """Its end arrives first, then the relay's answer that the id was used."""
    exchange, record, _ = spoken()
    exchange.handle(PlayerEvent(4, "c1", REPLACED, "lobby"), NOW_US)
    exchange.handle(ConversationError("c1", TAKEN), NOW_US)
    outcome = record.playback.outcome
    assert isinstance(outcome, ConversationFinished)
    assert outcome.by_device == {"lobby": REPLACED}


def test_what_finished_before_it_was_known_to_be_open_is_not_opened_at_a_new_relay() -> None:
    """There it would wait for a device that has finished it."""
    exchange, record, _ = spoken()
    while exchange.next_message(0) is not None:
        pass
    exchange.handle(PlayerEvent(4, "c1", REPLACED, "lobby"), NOW_US)
    exchange.cut()
    exchange.resumed((), NOW_US)
    assert exchange.next_message(0) is None
    assert isinstance(record.playback.outcome, ConversationFinished)


def test_what_finished_while_it_was_being_opened_again_is_not_opened_any_more() -> None:
    """The relay that knows its end may lose the device before the next attempt."""
    exchange, record, _ = spoken()
    exchange.handle(ConversationError("c1", TAKEN), NOW_US)
    exchange.handle(PlayerEvent(4, "c1", REPLACED, "lobby"), NOW_US)
    assert isinstance(record.playback.outcome, ConversationFinished)
    while exchange.next_message(0) is not None:
        pass
    exchange.tick(NOW_US + TOLD_AGAIN_US)
    assert exchange.next_message(0) is None


def test_what_finished_on_one_device_is_opened_again_on_the_others() -> None:
    """A relay that does not know the end would open it on the first device too, and wait for an end that was acknowledged."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby", "hall")), NOW_US)
    exchange.handle(PlayerEvent(4, "c1", REPLACED, "lobby"), NOW_US)
    exchange.cut()
    exchange.resumed((), NOW_US)
    again = exchange.next_message(0)
    assert isinstance(again, PublishOpen)
    assert again.targets == ("hall",)
    exchange.handle(Opened("c1", ("hall",)), NOW_US)
    exchange.handle(PlayerEvent(1, "c1", REPLACED, "hall"), NOW_US)
    outcome = record.playback.outcome
    assert isinstance(outcome, ConversationFinished)
    assert set(outcome.by_device) == {"lobby", "hall"}


def test_what_was_sent_before_a_relay_that_does_not_know_it_is_not_sent_again() -> None:
    """Its relay was away, and another one was asked in vain: then neither media nor the end is missing, and the relay did not end it."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.handle(ConversationCredit("c1", Credit(1_000_000, 1_000_000)), NOW_US)
    exchange.end_all(NOW_US)
    exchange.tick(NOW_US + 60_000_000)
    sent = [exchange.next_message(0) for _ in range(4)]
    assert [type(message) for message in sent if message is not None][-2:] == [Media, ConversationEnd]
    exchange.cut()
    exchange.resumed((), NOW_US)
    exchange.cut()
    exchange.resumed([Taken(Cursor("c1", 1), ended=True)], NOW_US)
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.handle(ConversationCredit("c1", Credit(1_000_000, 1_000_000)), NOW_US)
    assert exchange.next_message(0) is None
    assert record.stopped is None


def ended(*, audio_only: bool = False) -> tuple[PublisherSession, Record, list[Told]]:
    """A conversation whose sound and end were sent on a stream that was cut afterwards."""
    exchange, record, told = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.handle(ConversationCredit("c1", Credit(1_000_000, 1_000_000)), NOW_US)
    if audio_only:
        record.conversation.set_audio_only(NOW_US)
    exchange.end_all(NOW_US)
    while exchange.next_message(0) is not None:
        pass
    assert record.conversation.phase is Phase.ENDED
    exchange.cut()
    return exchange, record, told


def reason_of(record: Record) -> str:
    outcome = record.playback.outcome
    assert isinstance(outcome, ConversationFinished)
    return outcome.reason


def test_what_a_relay_ended_without_all_of_it_is_not_completed() -> None:
    """The end was sent, but neither it nor the sound arrived; the device plays out what did."""
    exchange, record, told = ended()
    exchange.resumed([Taken(Cursor("c1", 0), ended=True)], NOW_US)
    exchange.handle(PlayerEvent(1, "c1", COMPLETED, "lobby"), NOW_US)
    assert reason_of(record) == "publisher_lost"
    kinds = [event.fault.reason if isinstance(event, ConversationError) else event.body for event in told]
    assert kinds == [
        Dropped(Kind.AUDIO, 1, 640, DropReason.CONVERSATION_CLOSED),
        Reason.PUBLISHER_LOST,
        replace(COMPLETED, reason="publisher_lost"),
    ]


@pytest.mark.parametrize("audio_only", [False, True])
def test_what_a_relay_ended_with_all_of_it_is_completed(audio_only: bool) -> None:
    """The relay's `taken` says whether it has all."""
    exchange, record, _ = ended(audio_only=audio_only)
    exchange.resumed([Taken(Cursor("c1", 1), ended=True)], NOW_US)
    exchange.handle(PlayerEvent(1, "c1", COMPLETED, "lobby"), NOW_US)
    assert (reason_of(record), record.stopped) == ("completed", None)


def test_what_finished_at_a_relay_that_does_not_have_it_any_more_is_completed() -> None:
    """The end was sent, so the device may well have had all of it."""
    exchange, record, told = ended()
    exchange.resumed((), NOW_US)
    exchange.handle(PlayerEvent(1, "c1", COMPLETED, "lobby"), NOW_US)
    assert reason_of(record) == "completed"
    assert [event.body for event in told if isinstance(event, PlayerEvent)] == [COMPLETED]
    assert not record.conversation.is_waiting


def test_what_finished_before_its_end_was_ever_sent_is_not_completed() -> None:
    """Whichever relay ended it for a publisher that was away, and whether that relay still exists."""
    exchange, record, _ = spoken()
    exchange.handle(PlayerEvent(1, "c1", COMPLETED, "lobby"), NOW_US)
    exchange.handle(ConversationError("c1", TAKEN), NOW_US)
    assert reason_of(record) == "publisher_lost"


@pytest.mark.parametrize("is_known_to_be_open", [True, False])
def test_what_ended_without_us_and_is_not_told_again_fails_as_lost(is_known_to_be_open: bool) -> None:
    """The relay ended it when our lease expired, and its events went to nobody: it can only say that it had it."""
    exchange, record, _ = ended() if is_known_to_be_open else spoken()
    exchange.resumed((), NOW_US)
    for now_us in (NOW_US, NOW_US + TOLD_AGAIN_US):
        exchange.handle(ConversationError("c1", TAKEN), now_us)
        exchange.handle(Pong(0, 0, 0, 0, 0), now_us)
    assert isinstance(record.playback.outcome, Fault)
    assert record.playback.outcome.reason is Reason.PUBLISHER_LOST


def test_what_failed_at_the_relay_is_not_completed() -> None:
    """Media accepted before plays out."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.handle(ConversationError("c1", Fault(Reason.LIMIT_REACHED, "too many payloads")), NOW_US)
    exchange.handle(PlayerEvent(1, "c1", COMPLETED, "lobby"), NOW_US)
    assert reason_of(record) == "failed"


def test_what_was_taken_over_before_it_was_known_to_be_open_has_the_outcome_of_its_device() -> None:
    """`opened` was lost with a stream, and the device had finished it when the publisher reconnected; the fault is resent alone."""
    exchange, record, _ = spoken()
    exchange.handle(ConversationError("c1", Fault(Reason.CONVERSATION_TAKEN_OVER, "the last opener wins"), "lobby"), NOW_US)
    exchange.handle(Pong(0, 0, 0, 0, 0), NOW_US)
    assert record.playback.outcome is None
    exchange.handle(PlayerEvent(4, "c1", REPLACED, "lobby"), NOW_US)
    exchange.handle(ConversationError("c1", TAKEN), NOW_US)
    exchange.tick(NOW_US + TOLD_AGAIN_US)
    exchange.handle(ConversationError("c1", TAKEN), NOW_US + TOLD_AGAIN_US)
    exchange.handle(Pong(0, 0, 0, 0, 0), NOW_US + TOLD_AGAIN_US)
    assert isinstance(record.playback.outcome, ConversationFinished)


@pytest.mark.parametrize(("devices", "opened_as"), [(("lobby",), OnPlaying.QUEUE), (("lobby", "hall"), OnPlaying.REPLACE)])
def test_what_was_taken_over_replaces_nothing_when_it_is_opened_again(devices: tuple[str, ...], opened_as: OnPlaying) -> None:
    """Its device moved before it heard of the replacement, and the next relay knows nothing of it: the last opener wins there, too.

    If it still plays on another device, it is opened again as it was.
    """
    exchange, _, _ = spoken()
    exchange.handle(Opened("c1", devices), NOW_US)
    exchange.handle(ConversationError("c1", Fault(Reason.CONVERSATION_TAKEN_OVER, "the last opener wins"), "lobby"), NOW_US)
    exchange.cut()
    exchange.resumed((), NOW_US)
    again = exchange.next_message(0)
    assert isinstance(again, PublishOpen)
    assert again.open.on_playing is opened_as
    exchange.handle(Opened("c1", devices), NOW_US)
    assert (exchange.next_message(0) == Interrupt("c1")) is (devices == ("lobby",))


def test_what_a_relay_dropped_is_told_once() -> None:
    """Its totals are repeated on each new stream, since a report may be lost with one; those of another relay count from 0."""
    exchange, record, told = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    for count_id, payloads, total in ((7, 3, 3), (7, 0, 3), (7, 0, 5), (7, 2, 5), (8, 4, 4)):
        body = Dropped(Kind.MOTION, payloads, 10 * payloads, DropReason.LINK_NARROW, count_id, total, 10 * total)
        exchange.handle(PlayerEvent(0, "c1", body, "lobby"), NOW_US)
    drops = [event.body for event in told if isinstance(event, PlayerEvent) and isinstance(event.body, Dropped)]
    assert [(body.payloads, body.bytes) for body in drops] == [(3, 30), (2, 20), (4, 40)]
    assert not record.is_over


def test_what_is_over_stays_over() -> None:
    """Also if the relay reports afterwards that it is open on one more device."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.handle(PlayerEvent(4, "c1", REPLACED, "lobby"), NOW_US)
    exchange.handle(Opened("c1", ("lobby", "hall")), NOW_US)
    assert isinstance(record.playback.outcome, ConversationFinished)
    assert exchange.has_nothing_to_say


def test_what_was_said_last_of_holding_is_said_again() -> None:
    """The stream may have lost it: a face that is never resumed would hang."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.say(Pause("c1"))
    exchange.say(Resume("c1"))
    while exchange.next_message(0) is not None:
        pass
    exchange.cut()
    exchange.resumed([Taken(Cursor("c1", 1))], NOW_US)
    assert exchange.next_message(0) == Resume("c1")
    assert record.stopped is None


def test_what_the_next_relay_has_is_not_opened_again() -> None:
    """The last one was asked for it in vain; that is no reason to ask the next one, which would refuse it as known."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.cut()
    exchange.resumed((), NOW_US)
    exchange.handle(ConversationError("c1", Fault(Reason.DEVICE_UNKNOWN, "has not come back yet", "targets"), "lobby"), NOW_US)
    exchange.cut()
    exchange.resumed([Taken(Cursor("c1", 1))], NOW_US)
    exchange.tick(NOW_US + 1_000_000)
    assert exchange.next_message(0) is None
    assert record.stopped is None


def test_a_command_before_it_is_open_again_does_no_harm() -> None:
    """The relay does not know it yet, and reports this; then the device attaches, and it continues."""
    exchange, record, _ = spoken()
    away = Fault(Reason.DEVICE_UNKNOWN, "has not come back yet", "targets", 100)
    exchange.handle(ConversationError("c1", away, "lobby"), NOW_US)
    exchange.handle(ConversationError("c1", Fault(Reason.CONVERSATION_UNKNOWN, "never opened on this stream")), NOW_US)
    exchange.tick(NOW_US + 200_000)
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    assert record.playback.outcome is None
    assert record.stopped is None
    assert record.conversation.held == Cursor("c1")


def test_a_command_to_a_relay_that_drains_does_no_harm() -> None:
    """It refused the opening, and says of a later command that the conversation is closed; the next relay opens it."""
    exchange, record, _ = spoken()
    exchange.handle(Opened("c1", ("lobby",)), NOW_US)
    exchange.handle(ConversationError("c1", Fault(Reason.DRAINING, "the relay is draining")), NOW_US)
    exchange.handle(ConversationError("c1", Fault(Reason.CONVERSATION_CLOSED, "it is over")), NOW_US)
    exchange.handle(Pong(0, 0, 0, 0, 0), NOW_US)
    assert record.stopped is None
    exchange.cut()
    exchange.resumed((), NOW_US)
    assert isinstance(exchange.next_message(0), PublishOpen)
