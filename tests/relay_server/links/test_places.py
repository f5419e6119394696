"""The rule that takes a place from a connection that has proved nothing, at the rate at which a relay accepts them."""

from __future__ import annotations

import random

import pytest

from relay_server.access.peers import network_of
from relay_server.links.listener import AT_ONCE, PAUSE_S
from relay_server.links.places import one_too_many
from relay_server.links.socket_links import MAX_UNPROVED

RELAY = "192.0.2.10"


def kept_s(others: list[str], relay: str = RELAY) -> float:
    """How long a relay keeps its place if full batches of `others` come again and again, for a second at most; none of them leaves."""
    networks = {-number: network_of(others[number % len(others)]) for number in range(MAX_UNPROVED, 0, -1)}
    networks[0] = network_of(relay)
    count = 0
    while count * PAUSE_S / AT_ONCE < 1:
        if (out := one_too_many(networks, MAX_UNPROVED)) is not None:
            del networks[out]
        if 0 not in networks:
            break
        count += 1
        networks[count] = network_of(others[count % len(others)])
    return (count - 1) // AT_ONCE * PAUSE_S


@pytest.mark.parametrize(
    "others",
    [
        ["192.0.2.66"],
        [f"192.0.2.{66 + number}" for number in range(MAX_UNPROVED // 2)],
        [f"2001:db8::{number:x}" for number in range(1, 999)],
    ],
    ids=["address", "addresses", "IPv6 network"],
)
def test_a_relay_keeps_its_place_while_others_have_more(others: list[str]) -> None:
    """The newest connection of an address takes the place of one of its own, also if it has many addresses of one IPv6 network."""
    assert kept_s(others) >= 0.98


@pytest.mark.parametrize("others", [[RELAY], [f"2001:db8:{number:x}::1" for number in range(1, 999)]], ids=["same", "as many as places"])
def test_time_that_a_relay_has_otherwise(others: list[str]) -> None:
    """If strangers come from its own address (NAT), or from many: enough for a proof over 30 ms, which takes two round trips."""
    assert 0.07 <= kept_s(others) <= 0.08


def test_no_more_are_kept_than_there_are_places() -> None:
    """The connection that goes is the oldest one of a network that has most of them."""
    picked = random.Random(1)
    networks: dict[int, str] = {}
    for number in range(1_000):
        networks[number] = f"192.0.2.{picked.randrange(5)}"
        out = one_too_many(networks, 16)
        assert (out is None) == (len(networks) <= 16)
        if out is not None:
            sizes = [list(networks.values()).count(network) for network in networks.values()]
            assert list(networks.values()).count(networks[out]) == max(sizes)
            assert min(one for one, network in networks.items() if network == networks[out]) == out
            del networks[out]
