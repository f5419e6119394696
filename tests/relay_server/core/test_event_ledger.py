"""Acknowledging a device's events while several publishers have yet to acknowledge theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay_server.core.event_ledger import MAX_PENDING, EventLedger


def test_acknowledged_up_to_what_someone_lacks() -> None:
    """The acknowledged number precedes the first event that a publisher has not acknowledged."""
    ledger = EventLedger()
    for event_id, publisher in enumerate(("a", "b", None, "a"), 1):
        ledger.record(event_id, publisher)
    assert ledger.due() == 0
    ledger.acknowledge("a", 4)
    assert ledger.due() == 1
    ledger.acknowledge("b", 2)
    assert ledger.due() == 4
    assert ledger.due() == 0


def test_a_settled_event_is_acknowledged_again() -> None:
    """The acknowledgement may have been lost in transit."""
    ledger = EventLedger()
    ledger.record(1, None)
    assert ledger.due() == 1
    assert ledger.settled(1)
    assert ledger.due() == 1
    assert not ledger.settled(2)


def test_a_publisher_that_is_gone_holds_nothing_up() -> None:
    """Events of a publisher that left are not awaited."""
    ledger = EventLedger()
    ledger.record(1, "a")
    ledger.acknowledge("a")
    assert ledger.due() == 1


def test_pending_events_are_bounded() -> None:
    """Beyond the bound, the oldest event counts as acknowledged."""
    ledger = EventLedger()
    for event_id in range(1, MAX_PENDING + 2):
        ledger.record(event_id, "a")
    assert ledger.due() == 1


@given(st.lists(st.sampled_from(("a", "b", "c")), max_size=30), st.data())
def test_nothing_is_acknowledged_before_its_publisher_did(owners: list[str], data: st.DataObject) -> None:
    """Holds for any order of acknowledgements, and finally everything is acknowledged."""
    ledger, told = EventLedger(), 0
    for event_id, owner in enumerate(owners, 1):
        ledger.record(event_id, owner)
    upto = dict.fromkeys("abc", 0)
    for owner in data.draw(st.permutations(["a", "b", "c"] * 2)):
        upto[owner] = max(upto[owner], data.draw(st.integers(0, len(owners))))
        ledger.acknowledge(owner, upto[owner])
        told = max(told, ledger.due())
        assert all(event_id <= upto[owner] for event_id, owner in enumerate(owners[:told], 1))
    for owner in "abc":
        ledger.acknowledge(owner, len(owners))
    assert max(told, ledger.due()) == len(owners)
