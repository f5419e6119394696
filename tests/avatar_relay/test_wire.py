"""The tables of the wire format contain every message and every field."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from avatar_relay import messages as m
from avatar_relay import wire
from avatar_relay.device_state import DeviceSettings, Identify, Part, Parts, PartState, Restart, Update
from avatar_relay.media import (
    AudioFormat,
    Codec,
    ConversationOpen,
    Credit,
    Cursor,
    Expression,
    ExpressionPreset,
    Kind,
    MotionEncoding,
    MotionFormat,
    OnPlaying,
    Payload,
)
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2, publisher_service_pb2
from avatar_relay.wire.media import open_from_wire, open_to_wire

FAULT = Fault(Reason.LIMIT_REACHED, "too much", "open", 250)
LIMITS = m.Limits(1, 2, 3, 4, 5, 6)
CREDIT, CURSOR = Credit(7, 8), Cursor("c", 9, 10)
VOLUME = m.Volume(0.25, muted=True, revision=9)
SETTINGS = DeviceSettings((("rotation", "90"), ("figures", "on")), 7, (("rotation", "it is bolted to the wall"),))
EVENTS: tuple[m.PlayerEventBody, ...] = (
    m.Started(),
    m.Finished(1, interrupted=True, reason="interrupted"),
    m.Dropped(Kind.MOTION, 2, 3, "late", 7, 8, 9),
    m.Stalled(stalled=False, kind=Kind.AUDIO),
    m.DurationMismatch(4, 5),
    m.Paused(6),
    m.Resumed(0),
)
PLAYER_EVENTS = tuple(m.PlayerEvent(number, "c", body, "d") for number, body in enumerate(EVENTS))
OPEN = ConversationOpen(
    "c",
    AudioFormat(Codec.OPUS),
    MotionFormat(MotionEncoding.AVATARKIT_V2),
    on_playing=OnPlaying.QUEUE,
    expression=Expression(ExpressionPreset.THINKING, 0.25),
)
MEDIA = m.Media("c", (Payload(Kind.AUDIO, 1, b"1", 0, 20), Payload(Kind.MOTION, 2, b"22", 40, 20, 4, 9)))
CONTROL: tuple[Any, ...] = (
    m.AudioOnly("c"),
    m.ConversationEnd("c", 1, 2),
    m.Interrupt("c"),
    m.Pause("c"),
    m.Resume("c"),
    m.EventAck(3, "d"),
    m.Ping(1, 2),
)
COMMON: tuple[Any, ...] = (m.Held((CURSOR, Cursor("e")), "d"), *PLAYER_EVENTS, m.Pong(1, 2, 3, 4, 5), m.ConversationError("c", FAULT, "d"))

TO_RELAY: tuple[m.ToRelayFromDevice, ...] = (
    m.Hello(
        "d",
        1,
        "v",
        (Codec.OPUS, Codec.PCM_S16LE),
        48_000,
        (MotionEncoding.AVATARKIT_V2,),
        CREDIT,
        "t",
        (CURSOR,),
        VOLUME,
        slow_when_idle=True,
        settings=SETTINGS,
        takes_joined=True,
        stream_number=(1 << 64) - 1,
    ),
    CREDIT,
    m.Ping(1, 2),
    m.Goodbye("off"),
    m.UnknownEvent(3, "d"),
    VOLUME,
    SETTINGS,
    Parts((Part("sound", PartState.UNHEARD, "a card", "no card", 2, "unplugged"), Part("face", PartState.RUNNING, "the head"))),
    *COMMON,
)
TO_DEVICE: tuple[m.ToDevice, ...] = (
    m.Welcome("t", LIMITS, 1, 2, ("a",), ("b", "c"), m.Volume(0.5, muted=True, revision=8), SETTINGS, takes_joined=True),
    SETTINGS,
    Restart(),
    Identify(),
    Update(),
    OPEN,
    MEDIA,
    VOLUME,
    m.Pong(1, 2, 3, 4, 5),
    m.ConversationError("c", FAULT, "d"),
    m.GoAway("drain", 5, "b:2"),
    *CONTROL,
)
FROM_PUBLISHER: tuple[m.FromPublisher, ...] = (
    m.PublisherHello("p", 1, "v", "t", 7),
    m.PublishOpen(OPEN, ("d", "e"), CURSOR),
    m.PublishOpen(OPEN, ("d",)),
    m.DeviceVolume("d", m.Volume(0.0)),
    MEDIA,
    *CONTROL,
)
TO_PUBLISHER: tuple[m.ToPublisher, ...] = (
    m.PublisherWelcome("t", LIMITS, (m.Taken(CURSOR, 1, 2, audio_only=True, ended=True),)),
    m.Opened("c", ("d", "e")),
    m.ConversationCredit("c", CREDIT),
    m.GoAway("drain", 5, "b:2"),
    m.UnknownEvent(3, "d"),
    *COMMON,
)


def read_request(message: publisher_service_pb2.PublishRequest) -> m.AtRelay | None:
    """Read a request, ignoring its bytes, which only media would forward."""
    return wire.publish_request_from_wire(message, b"")


LEGS = [
    (TO_RELAY, m.ToRelayFromDevice, device_service_pb2.AttachRequest, wire.attach_request_to_wire, wire.attach_request_from_wire),
    (TO_DEVICE, m.ToDevice, device_service_pb2.AttachResponse, wire.attach_response_to_wire, wire.attach_response_from_wire),
    (FROM_PUBLISHER, m.FromPublisher, publisher_service_pb2.PublishRequest, wire.publish_request_to_wire, read_request),
    (TO_PUBLISHER, m.ToPublisher, publisher_service_pb2.PublishResponse, wire.publish_response_to_wire, wire.publish_response_from_wire),
]


@pytest.mark.parametrize(("samples", "union", "protobuf", "to_wire", "from_wire"), LEGS)
def test_every_message_survives_the_wire(samples: Any, union: Any, protobuf: Any, to_wire: Any, from_wire: Any) -> None:
    """All members of the union and of the `oneof`, with all fields."""
    assert {type(sample) for sample in samples} == set(get_args(union))
    encoded = [to_wire(sample) for sample in samples]
    assert {message.WhichOneof("message") for message in encoded} >= {field.name for field in protobuf.DESCRIPTOR.fields} - {"joined"}
    for sample, message in zip(samples, encoded, strict=True):
        assert from_wire(protobuf.FromString(message.SerializeToString())) == sample


@pytest.mark.parametrize(("samples", "union", "protobuf", "to_wire", "from_wire"), LEGS)
def test_no_field_of_the_wire_is_forgotten(samples: Any, union: Any, protobuf: Any, to_wire: Any, from_wire: Any) -> None:
    """Together, the samples set each field of each protobuf message."""
    del union, from_wire
    used = {field.name: set[str]() for field in protobuf.DESCRIPTOR.fields}
    for sample in samples:
        message = to_wire(sample)
        name = message.WhichOneof("message")
        used[name] |= {field.name for field, _ in getattr(message, name).ListFields()}
    expected = {field.name: {inner.name for inner in field.message_type.fields} for field in protobuf.DESCRIPTOR.fields}
    forgotten = {name: sorted(expected[name] - names) for name, names in used.items() if name != "joined"}
    assert {name: names for name, names in forgotten.items() if names} == ({"open": ["trace_context"]} if protobuf is LEGS[1][2] else {})


def test_a_welcome_without_volume_is_full_volume() -> None:
    """This is a device's volume if none is sent."""
    message = device_service_pb2.AttachResponse(welcome=device_service_pb2.Welcome(session_token="t"))
    read = wire.attach_response_from_wire(message)
    assert isinstance(read, m.Welcome)
    assert read.volume == m.Volume(1.0)


def test_an_unknown_player_event_keeps_its_id() -> None:
    """A later version may have more events; each must be acknowledged."""
    message = device_service_pb2.AttachRequest()
    message.event.event_id = 5
    message.event.conversation_id = "c"
    assert wire.attach_request_from_wire(message) == m.UnknownEvent(5)


def test_joined_messages_of_device_and_relay_are_each_their_own() -> None:
    """In order; already encoded messages are joined unchanged."""
    request = wire.attach_request_to_wire(*TO_RELAY[1:17])
    assert tuple(wire.attach_request_from_wire(one) for one in wire.attach_requests_in(request)) == TO_RELAY[1:17]
    encoded = [wire.attach_response_to_wire(message).SerializeToString() for message in TO_DEVICE[:16]]
    response = device_service_pb2.AttachResponse.FromString(wire.join_attach_responses(encoded))
    assert tuple(wire.attach_response_from_wire(one) for one in wire.attach_responses_in(response)) == TO_DEVICE[:16]
    alone = wire.attach_response_to_wire(TO_DEVICE[0])
    assert list(wire.attach_responses_in(alone)) == [alone]


def test_too_many_joined_messages_of_device_or_relay_are_refused() -> None:
    """Nested joined messages are unknown."""
    many = wire.attach_request_to_wire(*[m.Ping(1, 2)] * 17)
    with pytest.raises(wire.WireError, match=r"joined\.requests has 17 entries"):
        wire.attach_requests_in(many)
    responses = device_service_pb2.AttachResponse.FromString(wire.join_attach_responses([b""] * 17))
    with pytest.raises(wire.WireError, match=r"joined\.responses has 17 entries"):
        wire.attach_responses_in(responses)
    assert wire.attach_request_from_wire(many) is None


def test_joined_requests_are_each_their_own_message() -> None:
    """In order."""
    message = wire.publish_request_to_wire(m.Joined(FROM_PUBLISHER[-3:]))
    data = message.SerializeToString()
    joined = wire.requests_in(publisher_service_pb2.PublishRequest.FromString(data), data)
    assert tuple(wire.publish_request_from_wire(request, its_data) for request, its_data in joined) == FROM_PUBLISHER[-3:]


def test_moods_that_are_not_known_are_neutral_and_odd_intensities_are_refused() -> None:
    """A later version may have more moods; they must not fail a conversation."""
    message = open_to_wire(OPEN)
    message.expression.preset = 99  # type: ignore[assignment]
    assert open_from_wire(message).expression == Expression(ExpressionPreset.NEUTRAL, 0.25)
    for intensity in (-0.1, 1.5, float("nan"), float("inf")):
        message.expression.intensity = intensity
        with pytest.raises(wire.WireError, match=r"open\.expression\.intensity") as caught:
            open_from_wire(message)
        assert caught.value.conversation_id == "c"
