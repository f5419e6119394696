"""The queue of reports to the relay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.media import Credit, Cursor
from avatar_relay.messages import Finished, Goodbye, Held, PlayerEvent, Started
from edge_client.link.report_outbox import MAX_CURSORS, MAX_EVENTS, REPEAT_US, Outgoing, ReportOutbox
from edge_client.playback.events import ConversationEvent

FINISHED = Finished(1_000, False, "completed")


def drain(outbox: ReportOutbox, now_us: int = 0) -> list[Outgoing]:
    """All that would be sent now."""
    taken = []
    while (message := outbox.take(now_us)) is not None:
        taken.append(message)
    return taken


def test_credit_is_summed_and_cursors_are_the_latest() -> None:
    """Queued states are merged into one message each."""
    outbox = ReportOutbox()
    outbox.put(Credit(10, 1))
    outbox.put(Held((Cursor("a", 1, 1), Cursor("b", 5, 0))))
    outbox.put(Credit(5, 0))
    outbox.put(Held((Cursor("a", 3, 2),)))
    assert drain(outbox) == [Credit(15, 1), Held((Cursor("b", 5, 0), Cursor("a", 3, 2)))]
    assert drain(outbox) == []


def test_a_little_credit_and_cursors_may_wait() -> None:
    """Nothing else may: not an event that was not sent on this stream, and not much credit of any kind."""
    outbox = ReportOutbox()
    outbox.begin_stream(Credit(100, 40))
    outbox.put(Credit(25, 10))
    outbox.put(Held((Cursor("a", 1, 1),)))
    assert not outbox.may_wait(joins=False)
    assert outbox.may_wait(joins=True)
    outbox.put(Credit(0, 1))
    assert not outbox.may_wait(joins=True)
    drain(outbox)
    outbox.put(ConversationEvent("a", Started()))
    assert not outbox.may_wait(joins=True)
    drain(outbox)
    outbox.put(Credit(1, 0))
    assert outbox.may_wait(joins=True)
    outbox.put(Goodbye("shutdown"))
    assert not outbox.may_wait(joins=True)


def test_hello_makes_credit_and_cursors_void() -> None:
    """What `hello` contains is not sent again: credit would count twice."""
    outbox = ReportOutbox()
    outbox.put(Credit(10, 1))
    outbox.put(Held((Cursor("a", 1, 1),)))
    outbox.begin_stream(Credit(100, 40))
    assert drain(outbox) == []


def test_events_are_numbered_and_kept_until_acknowledged() -> None:
    """Ids count from 1; an acknowledgement covers all up to it."""
    outbox = ReportOutbox()
    for body in (Started(), FINISHED):
        outbox.put(ConversationEvent("a", body))
    assert drain(outbox) == [PlayerEvent(1, "a", Started()), PlayerEvent(2, "a", FINISHED)]
    outbox.acknowledge(1)
    assert outbox.unacknowledged == 1
    outbox.acknowledge(2)
    assert outbox.unacknowledged == 0


def test_an_unacknowledged_event_is_repeated_under_its_id() -> None:
    """Not before the timeout, and with the same id."""
    outbox = ReportOutbox()
    outbox.put(ConversationEvent("a", FINISHED))
    assert drain(outbox, 0) == [PlayerEvent(1, "a", FINISHED)]
    assert drain(outbox, REPEAT_US - 1) == []
    assert drain(outbox, REPEAT_US) == [PlayerEvent(1, "a", FINISHED)]


def test_a_new_stream_repeats_at_once_a_new_session_renumbers() -> None:
    """On the same session ids are kept; with a new session they become 1, 2, …"""
    outbox = ReportOutbox()
    outbox.put(ConversationEvent("a", Started()))
    outbox.put(ConversationEvent("a", FINISHED))
    drain(outbox)
    outbox.acknowledge(1)
    outbox.begin_stream(Credit(100, 40))
    assert drain(outbox) == [PlayerEvent(2, "a", FINISHED)]
    outbox.begin_stream(Credit(100, 40))
    outbox.begin_session()
    outbox.put(ConversationEvent("b", Started()))
    assert drain(outbox) == [PlayerEvent(1, "a", FINISHED), PlayerEvent(2, "b", Started())]


def test_finished_outlives_all_other_events() -> None:
    """A full log discards its oldest lesser event first, and counts it."""
    outbox = ReportOutbox()
    outbox.put(ConversationEvent("first", FINISHED))
    for number in range(MAX_EVENTS + 10):
        outbox.put(ConversationEvent(f"c{number}", Started()))
    assert outbox.unacknowledged == MAX_EVENTS
    assert outbox.dropped == 11
    sent = drain(outbox)
    assert sent[0] == PlayerEvent(1, "first", FINISHED)
    assert isinstance(sent[-1], PlayerEvent)
    assert sent[-1].event_id == MAX_EVENTS + 11


@given(st.lists(st.sampled_from(["put", "take", "acknowledge", "cut"]), max_size=60))
def test_every_event_arrives_once_and_in_order(steps: list[str]) -> None:
    """Whatever is cut and repeated: a relay that ignores duplicates gets all events, in order, without a gap."""
    outbox, put, arrived = ReportOutbox(), 0, list[PlayerEvent]()

    def take() -> None:
        for message in drain(outbox):
            assert isinstance(message, PlayerEvent)
            if not arrived or message.event_id > arrived[-1].event_id:
                arrived.append(message)

    for step in [*steps, "cut", "take"]:
        match step:
            case "put":
                put += 1
                outbox.put(ConversationEvent(f"c{put}", Started()))
            case "take":
                take()
            case "acknowledge" if arrived:
                outbox.acknowledge(arrived[-1].event_id)
            case "cut":
                outbox.begin_stream(Credit(100, 40))
    assert [(event.event_id, event.conversation_id) for event in arrived] == [(number, f"c{number}") for number in range(1, put + 1)]
    outbox.acknowledge(put)
    assert outbox.unacknowledged == 0


def test_cursors_are_bounded() -> None:
    """The cursors that have not changed for the longest time are left out."""
    outbox = ReportOutbox()
    for number in range(MAX_CURSORS + 5):
        outbox.put(Held((Cursor(f"c{number}", 1, 1),)))
    (held,) = drain(outbox)
    assert isinstance(held, Held)
    assert len(held.cursors) == MAX_CURSORS
    assert held.cursors[0].conversation_id == "c5"


def test_how_the_parts_stand_is_a_state() -> None:
    """The latest state is sent; it is sent again on a new stream."""
    outbox = ReportOutbox()
    first, second = (Parts((Part("face", state, "the head"),)) for state in (PartState.STARTING, PartState.RUNNING))
    outbox.put(first)
    outbox.put(second)
    assert drain(outbox) == [second]
    outbox.put(first)
    outbox.begin_stream(Credit(100, 40))
    assert drain(outbox) == []


def test_goodbye_is_last() -> None:
    """Queued reports are sent first; nothing is returned after it."""
    outbox = ReportOutbox()
    outbox.put(Goodbye("shutdown"))
    outbox.put(Credit(1, 0))
    assert drain(outbox) == [Credit(1, 0), Goodbye("shutdown")]
    outbox.put(Credit(1, 0))
    assert drain(outbox) == []
