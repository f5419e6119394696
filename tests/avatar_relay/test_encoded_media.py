"""Media forwarded without decoding: byte for byte the same for a device, and with nothing added."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import wire
from avatar_relay.media import Kind, Payload
from avatar_relay.messages import Joined, Media, PublishedMedia
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb

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


def data_of(message: Media | Joined) -> bytes:
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


def test_media_without_a_conversation_is_encoded_anew() -> None:
    """A hand-typed stream may leave out the id; the device needs it."""
    (message,) = read(data_of(media("", [(Kind.AUDIO, 40)])))
    assert isinstance(message, Media)


def test_a_joined_message_with_more_in_it_is_taken_apart_by_protobuf() -> None:
    """Bytes beside the joined requests are not requests."""
    said = [media("c1", [(Kind.AUDIO, 40)]), media("c2", [(Kind.AUDIO, 50)])]
    messages = read(data_of(Joined(tuple(said))) + b"\xc2\x3e\x02hi")
    assert [message.one_by_one() for message in messages if isinstance(message, PublishedMedia)] == said
