"""To its publisher, a conversation with devices at several relays is one conversation."""

from __future__ import annotations

from avatar_relay.media import Credit
from avatar_relay.messages import ConversationCredit, ConversationError, Finished, Opened, PlayerEvent, ToPublisher
from avatar_relay.reasons import Fault, Reason
from relay_server.cluster.parts import ConversationParts
from relay_server.core.open_conversation import PART_CREDIT_BYTES

CID = "c"


def credit(audio: int, motion: int = 0) -> ConversationCredit:
    return ConversationCredit(CID, Credit(audio, motion))


def window(audio: int, motion: int = 0) -> ConversationCredit:
    """The initial grant of a home."""
    return credit(PART_CREDIT_BYTES + audio, PART_CREDIT_BYTES + motion)


def finished(device_id: str, position_us: int, *, interrupted: bool = False) -> PlayerEvent:
    return PlayerEvent(1 if device_id else 0, CID, Finished(position_us, interrupted, "completed"), device_id)


def opened() -> ConversationParts:
    """Open a conversation at relays `a`, with two devices, and `b`."""
    parts = ConversationParts()
    parts.begin(CID)
    said: list[tuple[str, ToPublisher]] = [
        ("a", Opened(CID, ("l", "m"))),
        ("a", window(100)),
        ("b", Opened(CID, ("r",))),
        ("b", window(80)),
    ]
    assert [parts.hear(place, message) for place, message in said] == [[]] * 4
    assert parts.answered(CID) == [Opened(CID, ("l", "m", "r")), credit(100)]
    return parts


def test_it_is_opened_once_with_the_devices_of_all() -> None:
    """Opened when all homes have answered; other homes do not count."""
    parts = opened()
    assert parts.has(CID)
    assert parts.has(CID, "b")
    assert not parts.has(CID, "c")
    assert parts.hear("a", Opened("other", ("l",))) is None


def test_credit_follows_the_fastest_device() -> None:
    """Credit that a slower relay returns later was already granted."""
    parts = opened()
    assert parts.hear("b", credit(10)) == []
    assert parts.hear("b", credit(30, 5)) == [credit(20, 5)]
    assert parts.hear("a", credit(20)) == []
    assert parts.hear("a", credit(1)) == [credit(1)]


def test_each_device_finishes_and_one_summary_follows() -> None:
    """The homes' own summaries are suppressed; then the conversation is forgotten."""
    parts = opened()
    assert parts.hear("a", finished("l", 5)) == [finished("l", 5)]
    assert parts.hear("a", finished("m", 9, interrupted=True)) == [finished("m", 9, interrupted=True)]
    assert parts.hear("a", finished("", 9)) == []
    summary = PlayerEvent(0, CID, Finished(9, False, "completed"))
    assert parts.hear("b", finished("r", 7)) == [finished("r", 7), summary]
    assert not parts.has(CID)


def test_a_relay_that_refuses_leaves_the_others() -> None:
    """The fault is sent before the opening and affects some targets only."""
    parts = ConversationParts()
    parts.begin(CID)
    fault = ConversationError(CID, Fault(Reason.LIMIT_REACHED, "full"))
    assert parts.hear("a", fault) == [fault]
    assert parts.hear("b", Opened(CID, ("r",))) == []
    assert parts.hear("b", window(80)) == []
    assert parts.answered(CID) == [Opened(CID, ("r",)), credit(80)]
    assert parts.hear("b", finished("r", 7)) == [finished("r", 7)]
    assert not parts.has(CID)


def test_where_all_refuse_it_is_forgotten() -> None:
    """The faults were reported."""
    parts = ConversationParts()
    parts.begin(CID)
    parts.hear("a", ConversationError(CID, Fault(Reason.LIMIT_REACHED, "full")))
    assert parts.answered(CID) == []
    assert not parts.has(CID)


def test_a_fault_at_one_of_them_does_not_stop_the_others() -> None:
    """The publisher is notified of that device."""
    fault = Fault(Reason.PAYLOAD_TOO_LARGE, "too large")
    assert opened().hear("b", ConversationError(CID, fault)) == [ConversationError(CID, fault, "r")]


def test_a_part_that_is_there_goes_on_when_its_publisher_comes_back() -> None:
    """The publisher's restated state and the devices' events are kept until the new home has answered."""
    parts = ConversationParts()
    parts.known([CID])
    assert parts.hear("a", Opened(CID, ("l",))) == []
    assert parts.hear("a", window(-20)) == []
    assert parts.hear("a", finished("l", 5)) == []
    parts.begin(CID)
    assert parts.has(CID, "a")
    assert not parts.has(CID, "b")
    parts.hear("b", Opened(CID, ("r",)))
    parts.hear("b", window(80))
    assert parts.answered(CID) == [Opened(CID, ("l", "r")), credit(80), finished("l", 5)]
