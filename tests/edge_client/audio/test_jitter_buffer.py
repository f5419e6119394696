"""Reordering of payloads by sequence number."""

import random

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.media import Kind, Payload
from edge_client.audio.jitter_buffer import JitterBuffer, PushResult


def _payload(seq: int, size: int = 4) -> Payload:
    return Payload(Kind.AUDIO, seq, bytes([seq % 256]) * size)


def _take_all(buffer: JitterBuffer) -> list[int]:
    taken = []
    while (payload := buffer.take()) is not None:
        taken.append(payload.seq)
    return taken


@given(st.lists(st.integers(1, 30), max_size=80), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(doubles: list[int], shuffler: random.Random) -> None:
    """However payloads arrive, and however often, each is released once, in order."""
    arrivals = [*range(1, 31), *doubles]
    shuffler.shuffle(arrivals)
    buffer = JitterBuffer(max_bytes=1_000)
    taken: list[int] = []
    results = []
    for seq in arrivals:
        results.append(buffer.push(_payload(seq)))
        if shuffler.random() < 0.3:
            taken += _take_all(buffer)
    taken += _take_all(buffer)
    assert taken == list(range(1, 31))
    assert results.count(PushResult.ACCEPTED) == 30
    assert results.count(PushResult.DUPLICATE) == len(doubles)
    assert buffer.cursor == 30
    assert buffer.held_bytes == 0


def test_gap_holds_back_until_it_is_filled() -> None:
    """No payload overtakes another."""
    buffer = JitterBuffer(max_bytes=100)
    buffer.push(_payload(1))
    buffer.push(_payload(3))
    assert _take_all(buffer) == [1]
    assert buffer.has_gap
    assert buffer.cursor == 1
    buffer.push(_payload(2))
    assert _take_all(buffer) == [2, 3]


def test_gap_given_up_makes_what_comes_later_late() -> None:
    """Late and duplicate are distinguished."""
    buffer = JitterBuffer(max_bytes=100)
    buffer.push(_payload(1))
    buffer.push(_payload(4))
    _take_all(buffer)
    assert buffer.skip_gap() == 2
    assert buffer.cursor == 4
    assert _take_all(buffer) == [4]
    assert buffer.push(_payload(2)) is PushResult.LATE
    assert buffer.push(_payload(4)) is PushResult.DUPLICATE
    assert buffer.push(_payload(0)) is PushResult.DUPLICATE


def test_nothing_is_skipped_where_nothing_is_missing() -> None:
    """An empty buffer has no gap: it waits."""
    buffer = JitterBuffer(max_bytes=100)
    assert buffer.skip_gap() == 0
    buffer.push(_payload(1))
    assert buffer.skip_gap() == 0
    assert buffer.next_seq == 1


def test_bound_in_bytes() -> None:
    """A payload that does not fit is refused, and may be sent again when there is room."""
    buffer = JitterBuffer(max_bytes=10)
    assert buffer.push(_payload(1, 8)) is PushResult.ACCEPTED
    assert buffer.push(_payload(2, 4)) is PushResult.FULL
    buffer.take()
    assert buffer.push(_payload(2, 4)) is PushResult.ACCEPTED


def test_closed_buffer_takes_nothing() -> None:
    """After closing, held payloads are discarded, and later ones are stale."""
    buffer = JitterBuffer(max_bytes=100)
    buffer.push(_payload(2))
    buffer.push(_payload(1))
    buffer.close()
    assert buffer.push(_payload(3)) is PushResult.STALE
    assert buffer.held_bytes == 0
