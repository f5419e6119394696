"""Media forwarded without decoding: byte for byte the same for a device, and with nothing added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import wire
from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_ID_CHARACTERS, MAX_PAYLOAD_BYTES
from avatar_relay.media import Kind, Payload
from avatar_relay.messages import Joined, Media, Ping, PublishedMedia
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as media_pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.media_route import conversation_of_media
from avatar_relay.wire.raw import length

PAYLOADS = st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 3_000)), min_size=1, max_size=12)


def media(conversation_id: str, shape: list[tuple[Kind, int]]) -> Media:
    """Media with payloads of these kinds and sizes."""
    seqs = dict.fromkeys(Kind, 0)
    payloads = []
    for kind, size in shape:
        seqs[kind] += 1
        payloads.append(Payload(kind, seqs[kind], bytes([size % 256]) * size, seqs[kind] * 20_000, 20_000))
    return Media(conversation_id, tuple(payloads))


def read(data: bytes) -> list[object]:
    """Return a publisher's message as read by a relay."""
    requests = wire.requests_in(publisher_pb.PublishRequest.FromString(data), data)
    return [wire.publish_request_from_wire(request, its_data) for request, its_data in requests]


def data_of(message: Media | Ping | Joined) -> bytes:
    """Return a publisher's message as bytes."""
    data: bytes = wire.publish_request_to_wire(message).SerializeToString()
    return data


def published(data: bytes) -> PublishedMedia:
    """Return the only message in it."""
    (message,) = read(data)
    assert isinstance(message, PublishedMedia)
    return message


@given(st.lists(PAYLOADS, min_size=1, max_size=5))
def test_what_came_joined_leaves_as_it_came(shapes: list[list[tuple[Kind, int]]]) -> None:
    """Alone or joined with others: a device reads from a parcel exactly what the publisher sent for that conversation."""
    said = [media(f"c{number}", shape) for number, shape in enumerate(shapes)]
    for message, one in zip(read(data_of(Joined(tuple(said)) if len(said) > 1 else said[0])), said, strict=True):
        assert isinstance(message, PublishedMedia)
        assert message.encoded is not None
        response = device_pb.AttachResponse.FromString(message.encoded.data)
        assert wire.attach_response_from_wire(response) == one == message.one_by_one()


@given(PAYLOADS, PAYLOADS)
def test_two_parcels_are_one_message(first: list[tuple[Kind, int]], second: list[tuple[Kind, int]]) -> None:
    """Concatenated parcels of a conversation are one `media` with all payloads in order; so are their entries."""
    both = [published(data_of(media("c1", shape))).encoded for shape in (first, second)]
    parcels = [parcel for parcel in both if parcel is not None]
    joined = device_pb.AttachResponse.FromString(wire.join_media_responses(parcels)).media
    assert joined.conversation_id == "c1"
    assert [len(payload.data) for payload in joined.payloads] == [size for _, size in first + second]
    for parcel in parcels:
        entries = [entry for kind in parcel.counts for entry in parcel.entries(kind)]
        spliced = device_pb.AttachResponse.FromString(wire.splice_media_response("c1", entries)).media
        assert sorted(payload.SerializeToString() for payload in spliced.payloads) == sorted(
            payload.SerializeToString() for payload in device_pb.AttachResponse.FromString(parcel.data).media.payloads
        )


EXTRAS: dict[str, Callable[[bytes], bytes]] = {
    "a message to the device before it": lambda media_: device_pb.AttachResponse(welcome=device_pb.Welcome()).SerializeToString() + media_,
    "a field of no version after it": lambda media_: media_ + b"\xc2\x3e\x02hi",
    "the same twice": lambda media_: media_ + media_,
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_nothing_travels_along(extra: str) -> None:
    """A publisher cannot add anything to the media that a device would read as the relay's: such media is encoded again."""
    plain = data_of(media("c1", [(Kind.AUDIO, 40)]))
    assert published(plain).encoded is not None
    (message,) = read(EXTRAS[extra](plain))
    assert isinstance(message, Media)


PAYLOAD = {"kind": media_pb.KIND_AUDIO, "seq": 300, "pts_us": 6_000_000, "duration_us": 20_000, "data": b"abc" * 100}
NUMBERS = st.integers(0, (1 << 63) - 1) | st.integers(0, 300)


def encoded(conversation_id: str, **payload: Any) -> bytes:
    """Return a publisher's message with one payload."""
    request = publisher_pb.PublishRequest(media=media_pb.Media(conversation_id=conversation_id, payloads=[media_pb.Payload(**payload)]))
    data: bytes = request.SerializeToString()
    return data


def check_same(data: bytes) -> bool:
    """Whether a message is read without protobuf; then it must have the meaning that protobuf gives it."""
    quick = wire.live_media_in(data)
    if quick is None:
        return False
    slow = published(data)
    assert quick.encoded is not None and slow.encoded is not None
    assert (quick.encoded.data, quick.encoded.counts) == (slow.encoded.data, slow.encoded.counts)
    assert (quick.conversation_id, quick.columns, quick.one_by_one()) == (slow.conversation_id, slow.columns, slow.one_by_one())
    for columns in quick.columns:
        assert quick.encoded.entries(columns.kind) == slow.encoded.entries(columns.kind)
    assert conversation_of_media(data) == slow.conversation_id
    return True


@given(st.sampled_from(Kind), NUMBERS, NUMBERS, NUMBERS, st.integers(1, MAX_FRAGMENT_BYTES), st.integers(1, MAX_ID_CHARACTERS))
def test_one_payload_is_read_without_protobuf(kind: Kind, seq: int, pts_us: int, duration_us: int, size: int, letters: int) -> None:
    """Numbers of up to eight bytes; larger ones are left to protobuf."""
    number = media_pb.KIND_AUDIO if kind is Kind.AUDIO else media_pb.KIND_MOTION
    data = encoded("c" * letters, kind=number, seq=seq, pts_us=pts_us, duration_us=duration_us, data=bytes(size))
    assert check_same(data) is (max(seq, pts_us, duration_us) < 1 << 56)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3), st.integers(0, 338))
def test_damaged_media_has_the_meaning_that_protobuf_gives_it(changes: list[tuple[int, int]], left: int) -> None:
    """Changed and missing bytes: what is not read by protobuf has to mean the same."""
    data = bytearray(encoded("conversation-1", **PAYLOAD))
    for at, byte in changes:
        data[at % min(len(data), 45)] = byte
    check_same(bytes(data))
    assert not check_same(bytes(data[:left]))


@given(st.integers(1, MAX_FRAGMENT_BYTES), st.integers(1, 3), st.integers(0, 1 << 20), st.booleans())
def test_the_fragments_of_a_payload_are_read_without_protobuf(size: int, count: int, offset: int, is_last: bool) -> None:
    """Several in one message, the last of them shorter."""
    total = offset + size * count + (0 if is_last else 1)
    pieces = [{**PAYLOAD, "data": bytes(size), "fragment_offset": offset + number * size, "total_bytes": total} for number in range(count)]
    request = publisher_pb.PublishRequest(media={"conversation_id": "c1", "payloads": pieces})
    assert check_same(request.SerializeToString()) is not (total == size)


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(300, 400)), min_size=1, max_size=4))
def test_a_few_payloads_of_both_kinds_are_read_without_protobuf(shape: list[tuple[Kind, int]]) -> None:
    """In any order, as when sound and motion are due together."""
    assert check_same(data_of(media("c1", shape)))


@given(st.lists(PAYLOADS, min_size=1, max_size=5), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2))
def test_joined_requests_are_those_that_protobuf_finds(shapes: list[list[tuple[Kind, int]]], changes: list[tuple[int, int]]) -> None:
    """Damaged or not."""
    data = bytearray(data_of(Joined(tuple([media(f"c{number}", shape) for number, shape in enumerate(shapes)]))))
    for at, byte in changes:
        data[at % len(data)] = byte
    found = wire.joined_data_in(bytes(data))
    assert found or changes
    if found:
        try:
            requests = [publisher_pb.PublishRequest.FromString(one) for one in found]
        except DecodeError:
            return
        assert list(publisher_pb.PublishRequest.FromString(bytes(data)).joined.requests) == requests


@given(st.lists(st.tuples(st.sampled_from(["c1", "c2"]), st.sampled_from(["usual", "both kinds", "many", "ping"])), min_size=1, max_size=5))
def test_joined_media_is_read_at_once_if_all_of_it_is_usual(contents: list[tuple[str, str]]) -> None:
    """Anything else among it is left to the general way, with all of the message."""
    shapes = {"usual": [(Kind.AUDIO, 300)], "both kinds": [(Kind.AUDIO, 300), (Kind.MOTION, 400)], "many": [(Kind.AUDIO, 40)] * 9}
    messages = [Ping(1, 2) if what == "ping" else media(name, shapes[what]) for name, what in contents]
    found = wire.joined_live_media_in(data_of(Joined(tuple(messages))))
    if all(what in ("usual", "both kinds") for _, what in contents):
        assert found is not None
        assert [(one.conversation_id, one.columns) for one in found] == [
            (one.conversation_id, one.columns) for one in (wire.live_media_in(data_of(message)) for message in messages) if one is not None
        ]
    else:
        assert found is None


@pytest.mark.parametrize("extra", [b"", b"\x62", b"\x62\x80", b"\x62\xff\xff\xff\x7f", b"\x62\x02\x0a\x05", b"\x62\x02\x12\x00"])
def test_what_is_not_joined_is_left_to_protobuf(extra: bytes) -> None:
    """Truncated, too long, or something else."""
    assert wire.joined_data_in(extra) == []
    assert wire.joined_live_media_in(extra) is None


@pytest.mark.parametrize("size", [*range(1, 140), *range(16_280, 16_385)])
def test_a_byte_too_many_is_left_to_protobuf(size: int) -> None:
    """Behind either length, whose own size depends on the media's."""
    data = encoded("c1", **{**PAYLOAD, "data": bytes(size)})
    assert check_same(data)
    inner = data.index(b"\x0a\x02c1")
    for at in (inner, inner + 4, data.index(b"\x08\x01")):
        assert wire.live_media_in(data[:at] + b"\x0a" + data[at:]) is None


UNUSUAL: dict[str, bytes] = {
    "nothing": b"",
    "another message": publisher_pb.PublishRequest(ping={"id": 1}).SerializeToString(),
    "no conversation": encoded("", **PAYLOAD),
    "a long name": encoded("c" * (MAX_ID_CHARACTERS + 1), **PAYLOAD),
    "a name that is not text": encoded("c" * 9, **PAYLOAD).replace(b"c" * 9, b"\xff" * 9),
    "no position": encoded("c1", **{**PAYLOAD, "pts_us": None}),
    "a negative position": encoded("c1", **{**PAYLOAD, "pts_us": -1}),
    "a fragment that ends beyond its payload": encoded("c1", **PAYLOAD, fragment_offset=10, total_bytes=300),
    "a fragment without a whole": encoded("c1", **PAYLOAD, fragment_offset=10),
    "a whole payload called a fragment": encoded("c1", **PAYLOAD, total_bytes=300),
    "a fragment of too much": encoded("c1", **PAYLOAD, total_bytes=MAX_PAYLOAD_BYTES + 1),
    "no data": encoded("c1", **{**PAYLOAD, "data": b""}),
    "too much data": encoded("c1", **{**PAYLOAD, "data": bytes(MAX_FRAGMENT_BYTES + 1)}),
    "an unknown kind": encoded("c1", **{**PAYLOAD, "kind": 9}),
    "many payloads": data_of(media("c1", [(Kind.AUDIO, 40)] * 5)),
    "media without payloads": publisher_pb.PublishRequest(media={"conversation_id": "conversation"}).SerializeToString(),
    "an endless number": b"\x1a\x20" + b"\xff" * 32,
    "an endless length": b"\x1a\xff\xff\xff" + encoded("c1", **PAYLOAD)[3:],
    "a long number": encoded("c1", **PAYLOAD).replace(b"\x10\xac\x02", b"\x10" + b"\xff" * 12),
}


def test_the_conversation_of_media_is_read_alone() -> None:
    """Also of media that only protobuf reads; empty if there is none."""
    found = {name: conversation_of_media(data) for name, data in UNUSUAL.items()}
    assert found["a negative position"] == found["many payloads"] == "c1"
    none = (
        "nothing",
        "another message",
        "no conversation",
        "a long name",
        "a name that is not text",
        "an endless number",
        "an endless length",
    )
    assert {name: found[name] for name in none} == dict.fromkeys(none, "")
    assert conversation_of_media(UNUSUAL["many payloads"] * 2) == ""


def test_a_length_is_not_read_to_its_end() -> None:
    """64 KiB of a length without an end took 0.3 s."""
    with pytest.raises(IndexError, match="beyond"):
        length(b"\xff\xff\xff\x01", 0)


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_media_is_left_to_protobuf(name: str) -> None:
    """Whether it is valid or not."""
    assert wire.live_media_in(UNUSUAL[name]) is None


@pytest.mark.parametrize("extra", EXTRAS)
def test_media_with_more_is_left_to_protobuf(extra: str) -> None:
    """It is encoded again then."""
    assert wire.live_media_in(EXTRAS[extra](encoded("c1", **PAYLOAD))) is None


def test_media_without_a_conversation_is_encoded_anew() -> None:
    """A hand-typed stream may leave out the id; the device needs it."""
    (message,) = read(data_of(media("", [(Kind.AUDIO, 40)])))
    assert isinstance(message, Media)


def test_a_joined_message_with_more_in_it_is_taken_apart_by_protobuf() -> None:
    """Bytes beside the joined requests are not requests."""
    said = [media("c1", [(Kind.AUDIO, 40)]), media("c2", [(Kind.AUDIO, 50)])]
    messages = read(data_of(Joined(tuple(said))) + b"\xc2\x3e\x02hi")
    assert [message.one_by_one() for message in messages if isinstance(message, PublishedMedia)] == said
