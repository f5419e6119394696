"""A restarted relay: devices return with another relay's token and what they hold; publishers return to their conversations."""

from __future__ import annotations

import pytest

from avatar_relay import messages as m
from avatar_relay.media import ConversationOpen, Cursor, Kind, Payload
from avatar_relay.reasons import Fault, Reason
from relay_server.core.adoption import MAX_KEPT_EVENTS, Adoption
from tests.relay_server.relay_dsl import AVATARKIT, PCM_16K, RelayDsl, hello

C1 = ConversationOpen("c1", PCM_16K, AVATARKIT)


def restarted(*cursors: Cursor, token: str = "of-the-relay-before") -> RelayDsl:
    """Return a new relay to which a device with this held state has attached."""
    house = RelayDsl()
    house.perform(house.attending.attach(hello("lobby", token=token, cursors=cursors), house.now_us, 0))
    house.pump()
    return house


def confirms(house: RelayDsl) -> None:
    """The device says something after its hello."""
    house.perform(house.attending.handle(house.session("lobby"), m.Held(()), house.now_us))


def again(house: RelayDsl, held: Cursor, open_: ConversationOpen = C1, *targets: str) -> None:
    """Publisher a reopens a conversation."""
    house.say("a", m.PublishOpen(open_, targets or ("lobby",), held))


def audio(house: RelayDsl, *seqs: int) -> None:
    """Publisher a sends these payloads of c1."""
    house.say("a", m.Media("c1", tuple(Payload(Kind.AUDIO, seq, bytes(3_200), seq * 100_000, 100_000) for seq in seqs)))


def starts(house: RelayDsl, cid: str, event_id: int) -> None:
    """The device reports the first sound of a conversation."""
    house.perform(house.attending.handle(house.session("lobby"), m.PlayerEvent(event_id, cid, m.Started()), house.now_us))
    house.pump()


def finishes(house: RelayDsl, cid: str, event_id: int) -> None:
    """The device reports the end of a conversation."""
    event = m.PlayerEvent(event_id, cid, m.Finished(500_000, interrupted=False, reason="completed"))
    house.perform(house.attending.handle(house.session("lobby"), event, house.now_us))
    house.pump()


def test_a_conversation_goes_on_where_the_device_is() -> None:
    """Before its publisher returns, it is neither resumed nor lost for the device; then only the missing payloads are sent."""
    house = restarted(Cursor("c1", 5))
    assert house.heard("lobby") == ["welcome"]
    again(house, Cursor("c1", 3))
    assert house.heard("a") == ["opened c1 lobby"]
    audio(house, 4, 5, 6, 7)
    house.say("a", m.ConversationEnd("c1", 7, 0))
    assert house.heard("lobby") == ["open c1", "audio c1 6-7", "end c1 7 0"]
    finishes(house, "c1", 1)
    assert house.heard("a") == ["finished c1 lobby 500000 completed"]


@pytest.mark.parametrize("seqs", [(6, 7), (4, 5, 6, 7), (7,), (5, 6)])
def test_what_the_device_holds_need_not_come_again(seqs: tuple[int, ...]) -> None:
    """The publisher is told what the device holds, and forgets it; its media on the way may include it. Nothing else may be missing."""
    house = restarted(Cursor("c1", 5))
    again(house, Cursor("c1", 3))
    house.perform(house.attending.handle(house.session("lobby"), m.Held((Cursor("c1", 5),)), house.now_us))
    house.pump()
    assert [said for said in house.heard("a") if "held" in said] == ["held c1 5 0"]
    house.heard("lobby")
    audio(house, *seqs)
    if seqs[0] > 6:
        assert house.heard("a") == ["error c1 SEQUENCE_GAP"]
        return
    house.say("a", m.ConversationEnd("c1", seqs[-1], 0))
    assert house.heard("lobby") == [f"audio c1 6-{seqs[-1]}" if seqs[-1] > 6 else "audio c1 6", f"end c1 {seqs[-1]} 0"]


def test_the_end_of_what_the_device_holds_already() -> None:
    """No media is missing at the device, so none is at the relay."""
    house = restarted(Cursor("c1", 5))
    again(house, Cursor("c1", 0))
    house.heard("lobby")
    house.say("a", m.ConversationEnd("c1", 5, 0))
    assert house.heard("lobby")[-1] == "end c1 5 0"


@pytest.mark.parametrize("held", [3, 0])
def test_what_finished_before_its_publisher_came_is_told_as_soon_as_it_comes(held: int) -> None:
    """Reported once, before the device repeats it: the relay may be killed first. Acknowledged when the publisher has it."""
    house = restarted()
    starts(house, "c1", 1)
    finishes(house, "c1", 2)
    assert house.heard("lobby") == ["welcome"]
    again(house, Cursor("c1", held))
    assert house.heard("a") == ["opened c1 lobby", "started c1 lobby", "finished c1 lobby 500000 completed"]
    audio(house, held + 1)
    assert house.heard("a") == ["dropped c1 1 audio conversation_closed"]
    assert house.heard("lobby") == []
    house.play("a acks lobby 2")
    assert house.heard("lobby") == ["ack 2"]
    finishes(house, "c1", 2)
    assert house.heard("a") == []


def test_an_end_that_comes_after_its_publisher_is_told() -> None:
    """The event was in transit: the device has finished the conversation, and repeats the event on its new stream."""
    house = restarted()
    confirms(house)
    again(house, Cursor("c1", 3))
    audio(house, 4)
    finishes(house, "c1", 1)
    assert house.heard("lobby") == ["welcome"]
    assert house.heard("a") == ["opened c1 lobby", "dropped c1 1 audio conversation_closed", "finished c1 lobby 500000 completed"]


def test_what_the_device_tells_is_kept_up_to_a_bound() -> None:
    """The oldest report is dropped; the device repeats it."""
    adoption = Adoption()
    for number in range(MAX_KEPT_EVENTS + 3):
        adoption.keep(m.PlayerEvent(number + 1, "c1", m.Started()), number)
        adoption.keep(m.PlayerEvent(number + 1, "c1", m.Started()), number)
    told = adoption.told("c1")
    assert [event.event_id for event, _ in told] == list(range(4, MAX_KEPT_EVENTS + 4))
    assert adoption.told("c1") == ()
    assert not adoption.is_done("c1")


def test_what_nobody_comes_back_for_plays_out() -> None:
    """After the publishers' deadline the device gets an end at what it holds; a publisher that is too late is refused."""
    house = restarted(Cursor("c1", 5), Cursor("c2"))
    house.heard("lobby")
    house.play("wait 8")
    assert house.heard("lobby") == []
    house.play("wait 1")
    assert house.heard("lobby") == ["end c1 5 0", "interrupt c2"]
    again(house, Cursor("c1", 3))
    assert house.heard("a") == [f"error c1 {Reason.CONVERSATION_ID_TAKEN}"]


def test_a_publisher_that_is_back_too_late_is_told_how_it_ends() -> None:
    """What still plays is not refused: nothing more is accepted, and its end goes to the publisher."""
    for end, lost in (("", True), ("a ends c1;", False)):
        house = RelayDsl()
        house.play(f"lobby attaches; a opens c1; a audio c1 2; {end} a vanishes; wait 6")
        house.heard("a")
        again(house, Cursor("c1"))
        assert house.heard("a") == ["opened c1 lobby", *["error c1 PUBLISHER_LOST"] * lost]
        audio(house, 3)
        house.play("lobby finishes c1 9; lobby repeats c1 9; a acks lobby 1")
        assert house.heard("a") == [
            f"dropped c1 1 audio {'conversation_closed' if lost else 'after_end'}",
            *[f"finished c1 lobby 9 {'publisher_lost' if lost else 'completed'}"] * 2,
        ]
        assert house.heard("lobby")[-1] == "ack 1"
        again(house, Cursor("c1"))
        assert house.heard("a") == ["error c1 CONVERSATION_ID_TAKEN"]


def test_a_publisher_that_is_back_too_late_awaits_only_the_devices_that_still_play() -> None:
    """The end on the other one was reported to nobody."""
    house = RelayDsl()
    house.play("lobby attaches; hall attaches; a opens c1 on everyone; a audio c1; a ends c1; a vanishes; wait 6; lobby finishes c1 9")
    house.heard("a")
    again(house, Cursor("c1"), C1, "lobby", "hall")
    assert house.heard("a") == ["opened c1 hall"]


def test_a_device_that_is_not_there_yet_may_be_asked_for_again() -> None:
    """The refused opening does not use up the id."""
    house = RelayDsl()
    again(house, Cursor("c1", 3))
    assert house.heard("a") == [f"error c1 {Reason.DEVICE_UNKNOWN} lobby"]
    house.perform(house.attending.attach(hello("lobby", token="old", cursors=(Cursor("c1", 4),)), house.now_us, 0))
    again(house, Cursor("c1", 3))
    assert house.heard("a") == ["opened c1 lobby"]


def test_a_device_that_holds_less_than_was_kept_has_lost_it() -> None:
    """A gap is never played."""
    house = restarted(Cursor("c1", 2))
    again(house, Cursor("c1", 3))
    assert house.heard("a") == [f"error c1 {Reason.DEVICE_LOST} lobby"]


def test_a_hello_alone_does_not_end_a_conversation() -> None:
    """The device may have given up that stream, and play the conversation at another relay: its publisher tries again."""
    house = restarted(token="")
    again(house, Cursor("c1", 3))
    assert house.heard("a") == [f"error c1 {Reason.DEVICE_UNKNOWN} lobby"]
    confirms(house)
    again(house, Cursor("c1", 3))
    assert house.heard("a") == [f"error c1 {Reason.DEVICE_LOST} lobby"]


def test_a_device_that_was_restarted_as_well_has_lost_it() -> None:
    """A device without a token holds nothing, and nothing is in transit to it."""
    house = restarted(token="")
    confirms(house)
    again(house, Cursor("c1", 3))
    assert house.heard("a") == [f"error c1 {Reason.DEVICE_LOST} lobby"]


def test_a_conversation_that_never_reached_the_device_is_opened_as_it_was() -> None:
    """It is opened from its first payload, including what it replaces."""
    house = restarted(Cursor("c1", 2))
    again(house, Cursor("c1", 1))
    again(house, Cursor("c2"), ConversationOpen("c2", PCM_16K))
    house.heard("lobby")
    assert house.session("lobby").deliveries["c1"].cut
    finishes(house, "c1", 1)
    assert house.heard("a") == ["opened c1 lobby", "opened c2 lobby", "finished c1 lobby 500000 completed"]


def test_a_device_whose_welcome_was_lost_comes_with_the_old_token_again() -> None:
    """The old token identifies the device; conversations reopened meanwhile survive."""
    house = restarted(Cursor("c1", 5))
    again(house, Cursor("c1", 3))
    house.play("lobby leaves")
    house.heard("lobby")
    back = hello("lobby", token="of-the-relay-before", cursors=(Cursor("c1", 5),))
    house.perform(house.attending.attach(back, house.now_us, 0))
    house.pump()
    assert house.heard("lobby") == ["welcome", "resumed c1", "open c1"]


def test_a_conversation_paused_at_the_relay_before_is_resumed_when_its_device_returns() -> None:
    """The relay does not know that it is paused: it would stay paused."""
    house = restarted(Cursor("c1", 5))
    again(house, Cursor("c1", 3))
    house.play("lobby leaves; a resumes c1")
    house.heard("lobby")
    back = hello("lobby", token="of-the-relay-before", cursors=(Cursor("c1", 5),))
    house.perform(house.attending.attach(back, house.now_us, 0))
    house.pump()
    assert house.heard("lobby") == ["welcome", "resumed c1", "open c1", "resume c1"]


def test_what_is_sent_again_after_a_cut_is_not_paid_for_twice() -> None:
    """A publisher's credit follows payloads sent for the first time."""
    house = RelayDsl()
    house.play("lobby attaches; a opens c1; a audio c1 3; lobby leaves; lobby returns c1:1:0")
    conversation = house.registry.conversations["c1"]
    session = house.session("lobby")
    assert session.deliveries["c1"].sent.audio_seq == 3
    assert not any(session.deliveries["c1"].again_bytes.values())
    assert conversation.waiting(Kind.AUDIO) == 0


def test_an_acknowledgement_does_not_cover_what_a_dead_stream_swallowed() -> None:
    """A publisher that returns is sent its unacknowledged events again, in order, before any later one."""
    house = RelayDsl()
    house.play("lobby attaches; a opens c1; a audio c1 1; a ends c1; a opens c2 queue; a audio c2 1; a ends c2")
    house.play("lobby finishes c1 100; lobby finishes c2 100")
    publisher = house.publisher("a")
    for message in house.told:
        publisher.tell(message)
    publisher.backlog.begin(())  # popped for a stream that was dead
    publisher.come_back(m.PublisherWelcome("token-a", m.Limits(1, 2, 3, 4, 5)), [])
    told = [message.conversation_id for message in publisher.backlog if isinstance(message, m.PlayerEvent)]
    assert told == ["c1", "c2"]
    publisher.backlog.begin(())
    publisher.acknowledge("lobby", 1)
    publisher.come_back(m.PublisherWelcome("token-a", m.Limits(1, 2, 3, 4, 5)), [])
    assert [message.conversation_id for message in publisher.backlog if isinstance(message, m.PlayerEvent)] == ["c2"]


def test_what_the_device_does_not_open_replaces_nothing_there() -> None:
    """The device had finished it before: what the relay holds as replaced is interrupted, so that it ends."""
    house = restarted()
    house.play("a opens c2 queue; a audio c2")
    again(house, Cursor("c1"))
    house.heard("lobby")
    fault = Fault(Reason.CONVERSATION_CLOSED, "it is over; open a new id", "open")
    house.perform(house.attending.handle(house.session("lobby"), m.ConversationError("c1", fault), house.now_us))
    house.pump()
    assert house.heard("lobby") == ["interrupt c2"]


@pytest.mark.parametrize("cut_by", ["a", "b"])
def test_only_the_device_tells_how_a_conversation_ended_that_it_may_know(cut_by: str) -> None:
    """The device is detached, the previous relay opened the conversation on it, and it may have ended there: do not guess the reason."""
    house = restarted()
    house.perform(house.attending.detach(house.session("lobby"), "stream_ended", house.now_us))
    again(house, Cursor("c1"))
    house.play("a interrupts c1" if cut_by == "a" else "b opens c2 replace")
    assert [told for told in house.heard("a") if told.startswith("finished")] == []
    house.heard("lobby")
    house.perform(house.attending.attach(hello("lobby", token=house.session("lobby").token), house.now_us, 0))
    house.pump()
    assert house.heard("lobby")[:3] == ["welcome", "open c1", "interrupt c1"]
    finishes(house, "c1", 1)
    assert house.heard("a") == ["finished c1 lobby 500000 completed"]


@pytest.mark.parametrize("cut_by", ["a", "b"])
def test_a_relay_of_a_cluster_does_not_end_what_a_device_may_have_received_elsewhere(cut_by: str) -> None:
    """The device is away, and may be at another relay: its publisher may have opened the conversation again there."""
    house = RelayDsl()
    house.registry.in_cluster = True
    house.play("lobby attaches; lobby leaves; a opens c1; a audio c1 2")
    house.play("a interrupts c1" if cut_by == "a" else "b opens c2 replace")
    assert [told for told in house.heard("a") if told.startswith("finished")] == []
    house.heard("lobby")
    house.play("lobby returns")
    assert house.heard("lobby")[:3] == ["welcome", "open c1", "interrupt c1"]
    house.play("lobby finishes c1 0 interrupted")
    assert house.heard("a")[-1:] == ["finished c1 lobby 0 interrupted"]


def test_what_was_cut_while_its_device_was_away_is_lost_with_the_device() -> None:
    """It did not return within its lease."""
    house = RelayDsl()
    house.registry.in_cluster = True
    house.play("lobby attaches; lobby leaves; a opens c1; a interrupts c1; wait 31")
    assert house.heard("a")[-1:] == ["finished c1 lobby 0 device_lost"]


def test_the_totals_of_what_was_dropped_are_repeated_to_a_publisher_that_reconnects() -> None:
    """Its stream may have swallowed a report, which no device repeats."""
    house = RelayDsl()
    publisher = house.publisher("a")
    for payloads, total in ((2, 2), (3, 5)):
        publisher.tell(m.PlayerEvent(0, "c1", m.Dropped(Kind.MOTION, payloads, payloads, "link_narrow", 7, total, total), "lobby"))
        publisher.backlog.popleft()
    publisher.come_back(m.PublisherWelcome("token-a", m.Limits(1, 2, 3, 4, 5)), [])
    _, told = publisher.backlog
    assert told == m.PlayerEvent(0, "c1", m.Dropped(Kind.MOTION, 0, 0, "link_narrow", 7, 5, 5), "lobby")
