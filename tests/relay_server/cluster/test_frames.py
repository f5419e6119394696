"""Tunnel frames: records are decoded unchanged, and a lost or foreign message is detected."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.cluster.frames import (
    MAX_PUBLISHED_BYTES,
    PIECE_BYTES,
    FrameReader,
    FrameWriter,
    RecordKind,
    TunnelBrokenError,
    TunnelRecord,
    join,
    parts_in,
)

RECORDS = st.lists(st.builds(TunnelRecord, st.sampled_from(RecordKind), st.binary(max_size=200)), max_size=5)


@given(st.lists(RECORDS, max_size=6))
def test_records_come_out_as_they_went_in(batches: list[list[TunnelRecord]]) -> None:
    """Records are joined or alone, with heartbeats between them."""
    writer, reader = FrameWriter(), FrameReader()
    came = [record for batch in batches for message in writer.messages(batch) for record in reader.records(message)]
    assert came == [record for batch in batches for record in batch]


def test_a_large_record_travels_in_pieces() -> None:
    """A publisher may send 4 MiB; NATS accepts 1 MiB."""
    record = TunnelRecord(RecordKind.REQUEST, bytes(4 << 20))
    messages = list(FrameWriter().messages([record, TunnelRecord(RecordKind.REQUEST, b"x")]))
    assert max(map(len, messages)) <= PIECE_BYTES + 8
    reader = FrameReader()
    assert [len(one.data) for message in messages for one in reader.records(message)] == [4 << 20, 1]


@given(st.integers(0, 4), st.booleans())
def test_a_lost_or_doubled_message_is_noticed(at: int, doubled: bool) -> None:
    """Detected by its number."""
    writer, reader = FrameWriter(), FrameReader()
    messages = [message for number in range(6) for message in writer.messages([TunnelRecord(RecordKind.REQUEST, bytes([number]))])]
    messages[at : at + 1] = [messages[at]] * 2 if doubled else []
    with pytest.raises(TunnelBrokenError, match="was expected"):
        for message in messages:
            reader.records(message)


def test_records_that_only_a_later_version_knows_are_left_out() -> None:
    """The records after them are read."""
    (message,) = FrameWriter().messages([TunnelRecord(RecordKind.REQUEST, b"new"), TunnelRecord(RecordKind.RESPONSE, b"x")])
    changed = message[:12] + bytes([200]) + message[13:]
    assert FrameReader().records(changed) == [TunnelRecord(RecordKind.RESPONSE, b"x")]


@given(st.binary(max_size=40))
def test_what_is_no_message_breaks_the_tunnel(data: bytes) -> None:
    """No other input breaks it."""
    try:
        FrameReader().records(data)
    except TunnelBrokenError:
        return
    assert data[:8] == bytes(8)


@given(st.lists(st.tuples(st.text("0123456789abcdef", max_size=24), st.binary(max_size=MAX_PUBLISHED_BYTES // 3)), max_size=9))
def test_joined_messages_come_apart_in_their_order(messages: list[tuple[str, bytes]]) -> None:
    """As few as the limit permits."""
    joined = list(join(messages))
    assert [part for message in joined for part in parts_in(message)] == messages
    assert all(len(message) <= MAX_PUBLISHED_BYTES for message in joined)
    assert all(len(one) + len(following) > MAX_PUBLISHED_BYTES for one, following in pairwise(joined))


def test_a_message_of_the_largest_size_is_joined_with_none() -> None:
    """It is sent nevertheless."""
    largest = bytes(MAX_PUBLISHED_BYTES)
    assert [parts_in(message) for message in join([("a", b"x"), ("b", largest), ("c", b"y")])] == [
        [("a", b"x")],
        [("b", largest)],
        [("c", b"y")],
    ]


@given(st.binary(max_size=60))
def test_what_is_no_joined_message_is_refused(data: bytes) -> None:
    """Other input raises no other error."""
    try:
        parts = parts_in(data)
    except TunnelBrokenError:
        return
    assert b"".join(join(parts)) == data
