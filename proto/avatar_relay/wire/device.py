"""The device's leg: `AttachRequest` and `AttachResponse`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avatar_relay import messages as m
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.media import ConversationOpen, Credit
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.wire.control import COMMANDS, CREDIT, CURSOR, ERROR, EVENT, GOAWAY, HELD, LIMITS, PING, PONG, VOLUME
from avatar_relay.wire.converters import TEXTS, Converter, OneOf, cut_to, message, repeated
from avatar_relay.wire.media import open_from_wire, open_to_wire
from avatar_relay.wire.values import CODEC_FROM_WIRE, CODEC_TO_WIRE, ENCODING_FROM_WIRE, ENCODING_TO_WIRE, WireError


def _check_hello(hello: pb.Hello) -> None:
    if not is_valid_id(hello.device_id):
        raise WireError(Fault(Reason.HELLO_INVALID, f"device_id must be {ID_RULE}", "hello.device_id"))


def _known_of(to_wire: dict[Any, Any], from_wire: dict[Any, Any]) -> Converter[Any]:
    """Members of an enumeration; those that this version does not know are left out."""
    return Converter(
        lambda values: [to_wire[value] for value in values], lambda values: tuple([from_wire[one] for one in values if one in from_wire])
    )


_HELLO = message(
    m.Hello,
    pb.Hello,
    check=_check_hello,
    software_version=cut_to(128),
    codecs=_known_of(CODEC_TO_WIRE, CODEC_FROM_WIRE),
    motion_encodings=_known_of(ENCODING_TO_WIRE, ENCODING_FROM_WIRE),
    buffer=CREDIT,
    cursors=repeated(CURSOR),
    volume=Converter(lambda volume: None if volume is None else VOLUME.to_wire(volume), VOLUME.from_wire),
)


def _hello_from_wire(hello: pb.Hello) -> m.Hello:
    read = _HELLO.from_wire(hello)
    return read if hello.HasField("volume") else replace(read, volume=None)


_ATTACH_REQUEST: OneOf[m.ToRelayFromDevice] = OneOf(
    pb.AttachRequest,
    "message",
    {
        m.Hello: ("hello", Converter(_HELLO.to_wire, _hello_from_wire)),
        Credit: ("credit", CREDIT),
        m.Held: ("held", HELD),
        m.PlayerEvent: ("event", EVENT),
        m.UnknownEvent: ("event", EVENT),
        m.Ping: ("ping", PING),
        m.Pong: ("pong", PONG),
        m.Goodbye: ("goodbye", message(m.Goodbye, pb.Goodbye, reason=cut_to(64))),
        m.ConversationError: ("conversation_error", ERROR),
        m.Volume: ("volume", VOLUME),
    },
)
attach_request_to_wire, attach_request_from_wire = _ATTACH_REQUEST.to_wire, _ATTACH_REQUEST.from_wire

_WELCOME = message(m.Welcome, pb.Welcome, limits=LIMITS, resumed_conversation_ids=TEXTS, lost_conversation_ids=TEXTS, volume=VOLUME)


def _welcome_from_wire(welcome: pb.Welcome) -> m.Welcome:
    read = _WELCOME.from_wire(welcome)
    return read if welcome.HasField("volume") else replace(read, volume=m.Volume())


_ATTACH_RESPONSE: OneOf[m.ToDevice] = OneOf(
    pb.AttachResponse,
    "message",
    COMMANDS
    | {
        m.Welcome: ("welcome", Converter(_WELCOME.to_wire, _welcome_from_wire)),
        ConversationOpen: ("open", Converter(open_to_wire, open_from_wire)),
        m.Volume: ("volume", VOLUME),
        m.Pong: ("pong", PONG),
        m.ConversationError: ("conversation_error", ERROR),
        m.GoAway: ("goaway", GOAWAY),
    },
)
attach_response_to_wire, attach_response_from_wire = _ATTACH_RESPONSE.to_wire, _ATTACH_RESPONSE.from_wire
