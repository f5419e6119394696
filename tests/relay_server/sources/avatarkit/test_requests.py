"""Requests of one session: each motion message is assigned to its conversation, or to none."""

from __future__ import annotations

from avatar_relay.avatarkit import MotionHead
from avatar_relay.limits import UNKNOWN_CONVERSATION_HOLD_BYTES
from avatar_relay.reasons import DropReason
from relay_server.sources.avatarkit.requests import Arrival, Requests


def message(req_id: str, data: bytes = b"1", *, end: bool = False) -> Arrival:
    """A motion message."""
    return Arrival(MotionHead(req_id, 1, end), data)


def test_motion_of_the_current_request_is_its_own() -> None:
    """Once its id is known."""
    requests = Requests()
    requests.begin()
    assert requests.named("a") == []
    assert requests.route(message("a")) == message("a")


def test_motion_faster_than_the_id_is_parked_and_judged_then() -> None:
    """Its own motion is forwarded, another's is unknown."""
    requests = Requests()
    requests.begin()
    assert requests.route(message("a", b"1")) is None
    assert requests.route(message("b", b"2")) is None
    assert requests.named("a") == [message("a", b"1"), DropReason.CONVERSATION_UNKNOWN]


def test_what_is_parked_is_bounded() -> None:
    """Beyond the bound it is unknown; parked motion is reported when the request is closed."""
    requests = Requests()
    requests.begin()
    assert requests.route(message("a", bytes(UNKNOWN_CONVERSATION_HOLD_BYTES))) is None
    assert requests.route(message("a")) is DropReason.CONVERSATION_UNKNOWN
    assert requests.close() == 1


def test_late_motion_of_a_closed_request_never_reaches_the_next_one() -> None:
    """Neither before the next request's id is known, nor if the SDK reports the id only at the interrupt."""
    requests = Requests()
    requests.begin()
    requests.named("a")
    requests.close()
    requests.begin()
    assert requests.route(message("a")) is DropReason.CONVERSATION_CLOSED
    requests.close()
    requests.forget("b")
    requests.begin()
    assert requests.route(message("b")) is DropReason.CONVERSATION_CLOSED


def test_without_a_request_all_motion_is_unknown() -> None:
    """No request is open."""
    assert Requests().route(message("a")) is DropReason.CONVERSATION_UNKNOWN


def test_repeated_messages_and_those_behind_the_end_are_dropped() -> None:
    """A repeated message would shift all later ones."""
    requests = Requests()
    requests.begin()
    requests.named("a")
    assert requests.route(message("a", b"1")) == message("a", b"1")
    assert requests.route(message("a", b"1")) is DropReason.DUPLICATE
    assert requests.route(message("a", b"2", end=True)) == message("a", b"2", end=True)
    assert requests.route(message("a", b"3")) is DropReason.AFTER_END
