"""Limits per identity, and for all identities together."""

from __future__ import annotations

import time

import pytest

from avatar_relay.media import Credit, Kind, Payload
from avatar_relay.messages import (
    ConversationCredit,
    ConversationError,
    Dropped,
    Finished,
    Limits,
    Opened,
    PlayerEvent,
    Pong,
    PublisherWelcome,
    ToPublisher,
)
from avatar_relay.reasons import Fault, Reason
from relay_server.core.allowance import Allowance
from relay_server.core.backlog import MAX_BACKLOG, MAX_BACKLOG_BYTES, Backlog, Unacknowledged, size_of
from relay_server.core.event_ledger import MAX_PENDING, EventLedger
from relay_server.core.registry import MAX_UNOPENED_BYTES, PublisherRecord, UnopenedBytes
from relay_server.core.shares import Shares
from relay_server.errors import RequestError

WELCOME = PublisherWelcome("t", Limits(1, 1, 1, 1, 1))


def event(event_id: int, device: str = "d") -> PlayerEvent:
    return PlayerEvent(event_id, "c", Dropped(Kind.AUDIO, 1, 1, "late"), device)


def record(all_unopened: UnopenedBytes | None = None) -> PublisherRecord:
    return PublisherRecord("p", "t", by_hand=False, owner="o", allowance=Allowance(1, 1, 0), unopened_bytes=all_unopened or UnopenedBytes())


def test_an_identity_has_its_share_of_places() -> None:
    shares = Shares("watches", 3, 2)
    shares.take("a")
    shares.take("a")
    with pytest.raises(RequestError, match="a has 2 watches open already, its maximum"):
        shares.take("a")
    shares.take("b")
    with pytest.raises(RequestError, match="3 watches are open already"):
        shares.take("c")
    shares.give_back("a")
    with shares.place("c"), pytest.raises(RequestError):
        shares.take("d")
    shares.take("d")


def test_an_open_relay_knows_no_shares() -> None:
    shares = Shares("watches", 3, 1)
    for _ in range(3):
        shares.take("")


def test_a_backlog_is_bounded_in_bytes() -> None:
    backlog, error = Backlog(), ConversationError("c", Fault(Reason.NO_AUDIO, "x" * 1_024))
    gone = sum(backlog.append(error) for _ in range(MAX_BACKLOG))
    assert gone == MAX_BACKLOG - len(backlog)
    assert len(backlog) * size_of(error) <= MAX_BACKLOG_BYTES
    assert backlog.popleft() == error


def test_a_group_of_many_devices_is_a_large_message() -> None:
    assert size_of(Opened("c", tuple("abcdefgh"))) > size_of(Opened("c", ("a",)))


def test_a_return_is_linear_in_its_events() -> None:
    """A quadratic version took a second with 4,096 events, on the loop that carries all media."""
    publisher = record()
    for number in range(1, MAX_BACKLOG + 1):
        publisher.tell(event(number))
    began = time.process_time()
    publisher.come_back(WELCOME, [Opened("c", ("d",)), ConversationCredit("c", Credit(1, 1))])
    assert time.process_time() - began < 0.1
    told = list(publisher.backlog)
    assert [message.event_id for message in told if isinstance(message, PlayerEvent)] == list(range(1, MAX_BACKLOG + 1))
    assert told[0] == WELCOME


def test_a_return_tells_again_what_was_told_and_not_acknowledged() -> None:
    publisher = record()
    for message in (event(1), event(2), PlayerEvent(0, "c", Finished(0, interrupted=True, reason="device_lost"), "d")):
        publisher.tell(message)
    publisher.backlog.begin(())
    publisher.acknowledge("d", 1)
    publisher.tell(event(3))
    publisher.come_back(WELCOME, [])
    assert [getattr(message, "event_id", None) for message in publisher.backlog] == [None, 0, 2, 3]


def test_a_return_does_not_tell_what_concerned_the_earlier_stream() -> None:
    """A command that came before its conversation was open again, for example: by now it is, and the answer would end it."""
    publisher = record()
    told = [ConversationError("c", Fault(reason, "a text")) for reason in (Reason.CONVERSATION_UNKNOWN, Reason.SEQUENCE_GAP)]
    queued: list[ToPublisher] = [*told, Pong(1, 0, 0, 0, 0), ConversationCredit("c", Credit(1, 1))]
    for message in queued:
        publisher.tell(message)
    publisher.come_back(WELCOME, [])
    assert list(publisher.backlog) == [WELCOME, told[1]]


def test_acknowledgements_of_many_devices_out_of_order() -> None:
    kept = Unacknowledged()
    for number in (5, 3, 9):
        kept.add(event(number, "a"))
    kept.add(event(1, "b"))
    kept.add(event(3, "a"))
    kept.acknowledge("a", 5)
    kept.acknowledge("nobody", 99)
    assert [(one.device_id, one.event_id) for one in kept.all()] == [("a", 9), ("b", 1)]
    for number in range(MAX_BACKLOG):
        kept.add(event(100 + number, "b"))
    assert len(kept.all()) == MAX_BACKLOG


def test_many_acknowledgements_are_cheap() -> None:
    """A message with 256 acknowledgements took 15 ms when each one scanned all events."""
    kept, ledger = Unacknowledged(), EventLedger()
    for number in range(1, MAX_PENDING + 1):
        kept.add(event(number))
        ledger.record(number, "p")
    began = time.process_time()
    for _ in range(2_560):
        kept.acknowledge("d", 0)
        ledger.acknowledge("p", 0)
        ledger.due()
    assert time.process_time() - began < 0.1


def test_unopened_media_of_all_publishers_is_bounded() -> None:
    everybody, payload = UnopenedBytes(), Payload(Kind.AUDIO, 1, bytes(1 << 20))
    kept = [record(everybody) for _ in range(64)]
    assert sum(publisher.hold("c", payload, 0) for publisher in kept) == MAX_UNOPENED_BYTES // (1 << 20) - 1
    assert len(kept[0].release("c")) == 1
    assert kept[-1].hold("c", payload, 0)
