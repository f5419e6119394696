"""A hello that arrives late does not replace the newer stream of its client."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avatar_relay import wire
from avatar_relay.errors import PeerError
from avatar_relay.messages import PublisherHello
from avatar_relay.reasons import Reason
from avatar_relay.stream_numbers import StreamNumbers, is_newer
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from tests.relay_server.relay_dsl import hello


def make_relay() -> Relay:
    """A relay whose clock stands still."""
    clocks = Clocks(lambda: 1_000_000, lambda: 0)
    return Relay(RelayConfig(), clocks, random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)


def test_streams_of_one_run_are_in_order() -> None:
    """Numbers of two runs, and of a client that has none, are not compared."""
    run, other = StreamNumbers(b"run1"), StreamNumbers(b"run2")
    first, second, foreign = run.next(), run.next(), other.next()
    assert is_newer(second, first)
    assert not is_newer(first, second)
    assert not is_newer(first, first)
    assert not is_newer(foreign, second)
    assert not is_newer(second, foreign)
    assert not is_newer(second, 0)


@pytest.mark.parametrize("number", [0, 1 << 40 | 9, 2 << 32 | 1])
async def test_a_late_hello_of_a_device_takes_nothing_over(number: int) -> None:
    """Only one known to be older is refused: a new run of the program, and an earlier version, take over as ever."""
    relay = make_relay()
    new, late = relay.connect_device(), relay.connect_device()
    current = replace(hello("lobby"), stream_number=1 << 32 | 8)
    await new.send(current)
    with pytest.raises(PeerError) as refused:
        await late.send(replace(current, stream_number=1 << 32 | 7))
    assert refused.value.fault.reason is Reason.REPLACED
    assert not new.ended
    await relay.connect_device().send(replace(current, stream_number=number))
    assert new.ended


async def test_a_late_hello_of_a_publisher_takes_nothing_over() -> None:
    """Also if it is the first, which has no token."""
    relay = make_relay()
    new, late = relay.connect_publisher(), relay.connect_publisher()
    await new.send(PublisherHello("backend", 1, "test", "", 1 << 32 | 2))
    with pytest.raises(PeerError) as refused:
        await late.send(PublisherHello("backend", 1, "test", "", 1 << 32 | 1))
    assert refused.value.fault.reason is Reason.REPLACED
    assert not new.ended
    await relay.connect_publisher().send(PublisherHello("backend", 1, "test", "", 1 << 32 | 3))
    assert new.ended
