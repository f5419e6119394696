"""Lists of relays: clients spread over them, stay with one, and fail over."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.relay_list import RelayList

AB = ("a:1", "b:1")


def first_a(addresses: tuple[str, ...] = AB) -> RelayList:
    """A list that starts with its first relay."""
    return RelayList(addresses, lambda: 0.5)


def test_clients_spread_evenly() -> None:
    """Each relay is the first one of about the same number of clients."""
    chance = random.Random(1)
    counts = Counter(RelayList(("a:1", "b:1", "c:1"), chance.random).address for _ in range(3_000))
    assert all(900 < counts[address] < 1_100 for address in ("a:1", "b:1", "c:1"))


def test_a_client_stays_with_its_relay() -> None:
    """After a welcomed stream the same relay is tried first; if that fails, the next one."""
    relays = first_a()
    assert relays.ended(0, 0.0, stay=True) == 0.0
    assert relays.address == "a:1"
    relays.ended(0, 0.0, stay=False)
    assert relays.address == "b:1"
    relays.ended(0, 0.0, stay=True)
    assert relays.address == "b:1"


def test_a_hint_holds_for_the_relay_that_gave_it() -> None:
    """A relay without a pending hint goes first; if all have one, the first to expire."""
    relays = first_a()
    assert relays.ended(0, 10.0, stay=False) == 0.0
    assert relays.address == "b:1"
    assert relays.ended(1_000_000, 30.0, stay=False) == 9.0
    assert relays.address == "a:1"


def test_one_relay_alone_is_waited_for() -> None:
    """Its hint is kept, and a refusal is final."""
    relays = first_a(("a:1",))
    assert relays.ended(5, 2.0, stay=False, refused=True) == 2.0
    assert relays.all_refused


def test_a_relay_of_the_list_is_followed_to() -> None:
    """A relay outside of it is not, nor one that refused or asked to wait: a hostile relay can only choose among the client's own."""
    abc = ("a:1", "b:1", "c:1")
    relays = first_a(abc)
    assert relays.ended(0, 1.0, stay=False, sent_to="c:1") == 0
    assert relays.address == "c:1"
    relays = first_a(abc)
    relays.ended(0, 1.0, stay=False, sent_to="evil:1")
    assert relays.address == "b:1"
    relays.ended(0, 1.0, stay=False, sent_to="a:1")
    assert relays.address == "c:1"
    relays = first_a(abc)
    relays.ended(0, 0.0, stay=False, refused=True)
    relays.ended(0, 0.0, stay=False, sent_to="a:1")
    assert relays.address == "c:1"


def test_a_refusal_is_final_when_all_refused() -> None:
    """One relay may have an old copy of the access file; a welcome resets the count."""
    relays = first_a()
    relays.ended(0, 0.0, stay=False, refused=True)
    assert not relays.all_refused
    relays.welcomed()
    relays.ended(0, 0.0, stay=False, refused=True)
    assert not relays.all_refused
    relays.ended(0, 0.0, stay=False, refused=True)
    assert relays.all_refused


@given(st.integers(1, 5).flatmap(lambda count: st.tuples(st.just(count), st.lists(st.integers(0, count - 1), min_size=3 * count))))
def test_a_relay_that_serves_is_found(case: tuple[int, list[int]]) -> None:
    """Whichever relay serves, and whatever happened before, it is found in as many attempts as there are relays."""
    count, serving = case
    relays = RelayList([f"relay-{number}:1" for number in range(count)], random.Random(0).random)
    for serves in serving:
        for _ in range(count):
            if relays.address == f"relay-{serves}:1":
                break
            relays.ended(0, 0.0, stay=False)
        assert relays.address == f"relay-{serves}:1"
