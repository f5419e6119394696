"""Credit and drops."""

import pytest

from avatar_relay.media import Credit, Kind
from avatar_relay.messages import Dropped
from avatar_relay.reasons import DropReason
from edge_client.playback.ledgers import CREDIT_PERIOD_US, DROP_PERIOD_US, CreditLedger, DropLedger


def test_credit_is_granted_as_bytes_are_freed_and_not_for_each_payload() -> None:
    """A small amount waits for the period, a large one is granted at once."""
    ledger = CreditLedger(Credit(400, 400))
    assert ledger.receive(Kind.AUDIO, 300)
    ledger.free(Kind.AUDIO, 50)
    assert ledger.grant(CREDIT_PERIOD_US) == Credit(50, 0)
    ledger.free(Kind.AUDIO, 50)
    assert ledger.grant(CREDIT_PERIOD_US + 1) is None
    ledger.free(Kind.AUDIO, 150)
    assert ledger.grant(CREDIT_PERIOD_US + 2) == Credit(200, 0)
    assert ledger.grant(10 * CREDIT_PERIOD_US) is None
    assert ledger.first_grant() == Credit(350, 400)


def test_more_than_was_granted_is_noticed() -> None:
    """Freed bytes count only once they are granted."""
    ledger = CreditLedger(Credit(100, 100))
    assert ledger.receive(Kind.MOTION, 100)
    ledger.free(Kind.MOTION, 100)
    assert not ledger.receive(Kind.MOTION, 1)


def test_nothing_is_freed_twice() -> None:
    """Freeing twice would be our own fault."""
    ledger = CreditLedger(Credit(100, 100))
    ledger.receive(Kind.AUDIO, 10)
    ledger.free(Kind.AUDIO, 10)
    with pytest.raises(ValueError, match="outstanding"):
        ledger.free(Kind.AUDIO, 1)


def test_a_new_stream_is_granted_what_is_not_outstanding() -> None:
    """Bytes freed but not granted yet are included, and not granted again."""
    ledger = CreditLedger(Credit(100, 200))
    ledger.receive(Kind.AUDIO, 60)
    ledger.free(Kind.AUDIO, 20)
    assert ledger.first_grant() == Credit(60, 200)
    assert ledger.grant(10 * CREDIT_PERIOD_US) is None


def test_drops_are_gathered_by_conversation_kind_and_reason() -> None:
    """Drops are reported in one event each, at most once per period; those of a finishing conversation at once."""
    ledger = DropLedger()
    for _ in range(3):
        ledger.add("a", Kind.AUDIO, DropReason.LATE, 1, 10)
    ledger.add("a", Kind.MOTION, DropReason.AUDIO_ONLY, 1, 7)
    ledger.add("b", Kind.AUDIO, DropReason.DUPLICATE, 2, 5)
    assert ledger.tell("b") == [Dropped(Kind.AUDIO, 2, 5, "duplicate")]
    assert ledger.tell_due(DROP_PERIOD_US - 1) == []
    assert ledger.tell_due(DROP_PERIOD_US) == [
        ("a", Dropped(Kind.AUDIO, 3, 30, "late")),
        ("a", Dropped(Kind.MOTION, 1, 7, "audio_only")),
    ]
    assert ledger.tell_due(2 * DROP_PERIOD_US) == []
    assert (ledger.payloads, ledger.late_payloads) == (6, 3)


def test_twice_the_room_is_a_flood() -> None:
    """Up to the limit a fault is reported and the payload is played; beyond it no more is kept."""
    ledger = CreditLedger(Credit(100, 100))
    ledger.receive(Kind.AUDIO, 200)
    assert not ledger.is_flooded
    ledger.receive(Kind.MOTION, 201)
    assert ledger.is_flooded
    ledger.free(Kind.MOTION, 1)
    assert not ledger.is_flooded
