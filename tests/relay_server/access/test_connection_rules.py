"""Rules of `connection_rules`: which connections are closed."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.access.connection_rules import (
    ADMISSION_US,
    KNOWN_FACTOR,
    KNOWN_US,
    MAX_METADATA_BYTES,
    RECENT_BYTES_PER_S,
    STRANGER_BYTES,
    STRANGER_BYTES_PER_S,
    STRANGERS_BYTES,
    STRANGERS_PER_NETWORK,
    STREAMS_AT_ONCE,
    STREAMS_PER_S,
    SUSPECT_BYTES,
    SUSPECT_US,
    TURN_US,
    Connection,
    ConnectionRules,
)
from relay_server.access.peers import endpoint_of, is_within, network_of

CALLER = ("192.0.2.1", 1)


def connections(host: str, number: int, first: int = 1) -> list[Connection]:
    return [Connection(first + index, first + index, (host, 1_000 + index), first + index) for index in range(number)]


def test_the_oldest_strangers_of_a_network_go() -> None:
    rules, of_one = ConnectionRules(1_000), connections("192.0.2.1", STRANGERS_PER_NETWORK + 3)
    assert rules.excess([*of_one, *connections("192.0.2.2", 5, 500)], ADMISSION_US + 1) == of_one[2::-1]


def test_hundreds_that_connect_at_once_have_time_to_be_admitted() -> None:
    """Devices behind one address, when their relay is back: closing the oldest closed those that were about to be admitted."""
    rules, of_one = ConnectionRules(1_000), connections("192.0.2.1", 1_000)
    assert rules.excess(of_one, ADMISSION_US) == []
    assert len(rules.excess(of_one, ADMISSION_US + 1)) == 1_000 - STRANGERS_PER_NETWORK


def test_callers_do_not_count_and_are_remembered_for_a_while() -> None:
    rules, all_ = ConnectionRules(1_000), connections("192.0.2.1", 100)
    for connection in all_:
        rules.admit(connection.endpoint, 0)
    assert rules.strangers(all_, 0) == []
    for connection in all_:
        rules.leave(connection.endpoint, 0)
    assert rules.strangers(all_, KNOWN_US - 1) == []
    assert rules.strangers(all_, KNOWN_US) == all_
    assert len(rules.excess(all_, KNOWN_US)) == 100 - STRANGERS_PER_NETWORK


def test_one_customers_ipv6_addresses_are_one_network() -> None:
    rules, ports = ConnectionRules(1_000), count(1)
    all_ = [Connection(next(ports), 0, (f"2001:db8::{index:x}", 1), index) for index in range(STRANGERS_PER_NETWORK + 1)]
    assert len(rules.excess(all_, KNOWN_US)) == 1


@given(st.lists(st.integers(0, 100), max_size=12), st.integers(0, 300), st.booleans())
def test_all_strangers_are_bounded_and_share_what_there_is(sizes: list[int], most: int, late: bool) -> None:
    """Holds for any number of networks; a network with few connections keeps them while others have more."""
    rules = ConnectionRules(most)
    all_ = [one for index, size in enumerate(sizes) for one in connections(f"192.0.2.{index}", size, 1_000 * index)]
    over = set(rules.excess(all_, KNOWN_US if late else 0))
    left = [sum(one not in over for one in all_ if one.endpoint[0] == f"192.0.2.{index}") for index in range(len(sizes))]
    assert sum(left) <= most
    share = max(left, default=0)
    assert not late or share <= STRANGERS_PER_NETWORK
    assert all(kept in (size, share) for kept, size in zip(left, sizes, strict=True))


def test_a_stranger_begins_so_many_calls() -> None:
    rules = ConnectionRules(10)
    assert [rules.begin(CALLER, 100, 0) for _ in range(STREAMS_AT_ONCE + 1)] == [True] * STREAMS_AT_ONCE + [False]
    assert [rules.begin(CALLER, 100, 1_000_000) for _ in range(STREAMS_PER_S + 1)] == [True] * STREAMS_PER_S + [False]


def test_admitted_calls_are_not_counted() -> None:
    rules = ConnectionRules(10)
    for _ in range(10 * KNOWN_FACTOR * STREAMS_AT_ONCE):
        assert rules.begin(CALLER, 100, 0)
        rules.admit(CALLER, 0)
        rules.leave(CALLER, 0)


def test_a_connection_with_a_caller_is_given_more_but_not_all() -> None:
    """As behind a proxy that is not configured on the relay."""
    rules = ConnectionRules(10)
    rules.begin(CALLER, 100, 0)
    rules.admit(CALLER, 0)
    assert sum(rules.begin(CALLER, 100, 10_000_000) for _ in range(10_000)) == KNOWN_FACTOR * STREAMS_AT_ONCE


def test_metadata_is_bounded_even_of_callers() -> None:
    """gRPC applies its limit only once the peer has acknowledged it."""
    rules = ConnectionRules(10)
    rules.admit(CALLER, 0)
    assert rules.begin(CALLER, MAX_METADATA_BYTES, 0)
    assert not rules.begin(CALLER, MAX_METADATA_BYTES + 1, 0)


def test_a_stranger_sends_so_many_bytes() -> None:
    rules, [one] = ConnectionRules(10), connections("192.0.2.1", 1)
    assert rules.senders([one], lambda _: STRANGER_BYTES, 0) == []
    later = STRANGER_BYTES + 2 * STRANGER_BYTES_PER_S
    assert rules.senders([one], lambda _: later, 2_000_000) == []
    assert rules.senders([one], lambda _: later + 1, 2_000_000) == [one]


def test_a_stranger_that_waited_may_not_send_more_at_once() -> None:
    rules, [one] = ConnectionRules(10), connections("192.0.2.1", 1)
    assert rules.senders([one], lambda _: 0, 0) == []
    assert rules.senders([one], lambda _: STRANGER_BYTES + 1, 3_600_000_000) == [one]


def test_the_network_of_one_that_sent_too_much_may_send_less_for_a_while() -> None:
    """Also those that are counted before it. Others may not."""
    rules, [first, sender, modest], [other] = ConnectionRules(10), connections("192.0.2.1", 3), connections("192.0.2.2", 1, 9)
    sent = {first: SUSPECT_BYTES + 1, sender: STRANGER_BYTES + 1, modest: SUSPECT_BYTES, other: STRANGER_BYTES}
    assert rules.senders([first, modest], sent.__getitem__, 0) == []
    assert rules.senders([first, sender, modest, other], sent.__getitem__, 0) == [first, sender]
    late = Connection(50, 50, ("192.0.2.1", 50), 50)
    assert rules.senders([late], lambda _: SUSPECT_BYTES + 1, SUSPECT_US - 1) == [late]
    assert rules.senders([late], lambda _: SUSPECT_BYTES + 1, SUSPECT_US) == []


def test_new_connections_of_a_suspect_network_are_heard_one_at_a_time() -> None:
    """Oldest first; all of them once it is not suspect any more, and those of other networks at once."""
    rules, these, [other] = ConnectionRules(100), connections("192.0.2.1", 4), connections("192.0.2.2", 1, 9)
    assert not rules.begin(these[0].endpoint, MAX_METADATA_BYTES + 1, 0)
    assert rules.suspects == ("192.0.2.1",)
    assert rules.turns({*these[1:], other}, 0) == [these[1], other]
    assert rules.turns(these[2:], TURN_US - 1) == []
    assert rules.turns(these[2:], TURN_US) == [these[2]]
    rules.senders([], lambda _: 0, SUSPECT_US)
    assert not rules.suspects
    assert rules.turns(these[2:], SUSPECT_US) == these[2:]


def test_what_a_caller_sent_does_not_count() -> None:
    """Not even once its connection is a stranger's again."""
    rules, [one] = ConnectionRules(10), connections("192.0.2.1", 1)
    rules.admit(one.endpoint, 0)
    assert rules.strangers([one], 0) == []
    rules.leave(one.endpoint, 0)
    assert rules.senders([one], lambda _: 1 << 30, KNOWN_US) == []
    assert rules.senders([one], lambda _: (1 << 30) + STRANGER_BYTES + 1, KNOWN_US) == [one]


@given(st.lists(st.integers(0, STRANGER_BYTES), max_size=200))
def test_those_that_sent_most_go_once_all_have_sent_too_much(sent: list[int]) -> None:
    """From any number of networks."""
    rules, all_ = ConnectionRules(1_000), [Connection(index, index, (f"192.0.2.{index}", 1), index) for index in range(len(sent))]
    over = set(rules.senders(all_, lambda one: sent[one.number], 0))
    left = [sent[one.number] for one in all_ if one not in over]
    ended = [sent[one.number] for one in over]
    assert sum(left) <= STRANGERS_BYTES
    assert not ended or sum(left) + min(ended) > STRANGERS_BYTES
    assert max(left, default=0) <= min(ended, default=STRANGER_BYTES)


def test_what_strangers_sent_long_ago_does_not_count() -> None:
    rules, all_ = ConnectionRules(1_000), [Connection(index, index, (f"192.0.2.{index}", 1), index) for index in range(140)]
    assert len(rules.senders(all_, lambda _: STRANGER_BYTES, 0)) == 140 - STRANGERS_BYTES // STRANGER_BYTES
    later_us = 1_000_000 * STRANGER_BYTES // RECENT_BYTES_PER_S
    assert rules.senders(all_, lambda _: STRANGER_BYTES, later_us) == []


def test_proxies_are_exempt() -> None:
    rules, all_ = ConnectionRules(1, ("192.0.2.0/24",)), connections("192.0.2.9", 100)
    assert rules.strangers(all_, 0) == []
    assert all([rules.begin(CALLER, MAX_METADATA_BYTES + 1, 0) for _ in range(10 * STREAMS_AT_ONCE)])


@pytest.mark.parametrize(
    ("peer", "endpoint"),
    [
        ("ipv4:192.0.2.1:40000", ("192.0.2.1", 40_000)),
        ("ipv6:%5B2001:db8::1%5D:40000", ("2001:db8::1", 40_000)),
        ("ipv6:%5B::ffff:192.0.2.1%5D:1", ("192.0.2.1", 1)),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", ("fe80::1", 1)),
        ("unix:/run/relay", ("unix", 0)),
    ],
)
def test_endpoints(peer: str, endpoint: tuple[str, int]) -> None:
    assert endpoint_of(peer) == endpoint


def test_networks() -> None:
    assert network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::"
    assert is_within("192.0.2.7", ("192.0.2.0/24",))
    assert not is_within("unix", ("0.0.0.0/0",))
