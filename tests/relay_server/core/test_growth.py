"""The relay's memory does not grow with past conversations: its records of them are bounded."""

from __future__ import annotations

import gc
import sys

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from tests.relay_server.relay_dsl import RelayDsl

MORE = 300


def converse(house: RelayDsl, first: int, count: int) -> None:
    """Run complete conversations; every third is interrupted, every fourth is cut by its device's stream."""
    for number in range(first, first + count):
        cid = f"c{number}"
        house.play(f"a opens {cid}; a audio {cid} 2; a motion {cid}; lobby starts {cid}; lobby holds {cid} 1 0")
        house.play(f"a interrupts {cid}" if number % 3 == 0 else f"a ends {cid}")
        if number % 4 == 0:
            house.play("lobby leaves")
            house.play(f"lobby returns {cid}:1:0")
        house.play(f"lobby finishes {cid} 5; a acks lobby {2 * number}")
        house.heard("a")
        house.heard("lobby")
        house.heard("everybody")
        house.told.clear()
        house._seqs.clear()  # the script's own memory, not the relay's


def blocks() -> int:
    """Return the number of memory blocks that the interpreter has allocated to objects."""
    gc.collect()
    return sys.getallocatedblocks()


def test_memory_stays_once_the_ledgers_are_full() -> None:
    """300 more conversations do not increase the number of blocks."""
    house = RelayDsl()
    house.play("lobby attaches")
    converse(house, 1, MAX_CLOSED_CONVERSATIONS + 20)
    before = blocks()
    converse(house, MAX_CLOSED_CONVERSATIONS + 21, MORE)
    assert abs(blocks() - before) < MORE / 2
    assert not house.registry.conversations
    assert not house.session("lobby").deliveries
