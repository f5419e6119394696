"""Messages between device and relay: `AttachRequest` and `AttachResponse`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from avatar_relay import messages as m
from avatar_relay.device_state import DeviceSettings, Identify, Parts, Restart, Update
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import (
    MAX_CLOSED_CONVERSATIONS,
    MAX_FORMATS,
    MAX_JOINED_WITH_DEVICE,
    MAX_SOFTWARE_CHARACTERS,
    MAX_TOKEN_CHARACTERS,
    MAX_WORD_CHARACTERS,
)
from avatar_relay.media import ConversationOpen, Credit
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.wire.control import COMMANDS, CREDIT, CURSOR, ERROR, EVENT, GOAWAY, HELD, LIMITS, PARTS, PING, PONG, SETTINGS, VOLUME
from avatar_relay.wire.converters import Converter, OneOf, at_most, cut_to, message, repeated, texts
from avatar_relay.wire.media import open_from_wire, open_to_wire
from avatar_relay.wire.raw import header
from avatar_relay.wire.values import CODEC_FROM_WIRE, CODEC_TO_WIRE, ENCODING_FROM_WIRE, ENCODING_TO_WIRE, WireError, check_count


def _check_hello(hello: pb.Hello) -> None:
    if not is_valid_id(hello.device_id):
        raise WireError(Fault(Reason.HELLO_INVALID, f"device_id must be {ID_RULE}", "hello.device_id"))


def _known_of(to_wire: dict[Any, Any], from_wire: dict[Any, Any], field: str) -> Converter[Any]:
    """Members of an enumeration; unknown ones are left out."""

    def read(values: Any) -> tuple[Any, ...]:
        check_count(values, MAX_FORMATS, f"hello.{field}")
        return tuple([from_wire[one] for one in values if one in from_wire])

    return Converter(lambda values: [to_wire[value] for value in values], read)


_OPTIONAL_SETTINGS: Converter[Any] = Converter(
    lambda settings: None if settings is None else SETTINGS.to_wire(settings), SETTINGS.from_wire
)
_HELLO = message(
    m.Hello,
    pb.Hello,
    check=_check_hello,
    software_version=cut_to(MAX_SOFTWARE_CHARACTERS),
    codecs=_known_of(CODEC_TO_WIRE, CODEC_FROM_WIRE, "codecs"),
    motion_encodings=_known_of(ENCODING_TO_WIRE, ENCODING_FROM_WIRE, "motion_encodings"),
    buffer=CREDIT,
    session_token=at_most(MAX_TOKEN_CHARACTERS, "hello.session_token"),
    cursors=repeated(CURSOR, MAX_CLOSED_CONVERSATIONS, "hello.cursors"),
    volume=Converter(lambda volume: None if volume is None else VOLUME.to_wire(volume), VOLUME.from_wire),
    settings=_OPTIONAL_SETTINGS,
)


def _hello_from_wire(hello: pb.Hello) -> m.Hello:
    read = _HELLO.from_wire(hello)
    read = read if hello.HasField("volume") else replace(read, volume=None)
    return read if hello.HasField("settings") else replace(read, settings=None)


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
        m.Goodbye: ("goodbye", message(m.Goodbye, pb.Goodbye, reason=cut_to(MAX_WORD_CHARACTERS))),
        m.ConversationError: ("conversation_error", ERROR),
        m.Volume: ("volume", VOLUME),
        DeviceSettings: ("settings", SETTINGS),
        Parts: ("parts", PARTS),
    },
)
attach_request_from_wire = _ATTACH_REQUEST.from_wire


def attach_request_to_wire(*messages: m.ToRelayFromDevice) -> pb.AttachRequest:
    """Encode messages of a device: one, or several that travel as one."""
    if len(messages) > 1:
        return pb.AttachRequest(joined={"requests": [_ATTACH_REQUEST.fields(one) for one in messages]})
    request: pb.AttachRequest = _ATTACH_REQUEST.to_wire(messages[0])
    return request


def attach_requests_in(message: pb.AttachRequest) -> Sequence[pb.AttachRequest]:
    """The requests in a message: itself, or those joined in it. Raises `WireError` if there are too many."""
    if not message.HasField("joined"):
        return (message,)
    check_count(message.joined.requests, MAX_JOINED_WITH_DEVICE, "joined.requests")
    requests: Sequence[pb.AttachRequest] = message.joined.requests
    return requests


_WELCOME = message(
    m.Welcome,
    pb.Welcome,
    session_token=at_most(MAX_TOKEN_CHARACTERS, "welcome.session_token"),
    limits=LIMITS,
    resumed_conversation_ids=texts(MAX_CLOSED_CONVERSATIONS, "welcome.resumed_conversation_ids"),
    lost_conversation_ids=texts(MAX_CLOSED_CONVERSATIONS, "welcome.lost_conversation_ids"),
    volume=VOLUME,
    settings=_OPTIONAL_SETTINGS,
)


def _welcome_from_wire(welcome: pb.Welcome) -> m.Welcome:
    read = _WELCOME.from_wire(welcome)
    read = read if welcome.HasField("volume") else replace(read, volume=m.Volume())
    return read if welcome.HasField("settings") else replace(read, settings=None)


_ATTACH_RESPONSE: OneOf[m.ToDevice] = OneOf(
    pb.AttachResponse,
    "message",
    COMMANDS
    | {
        m.Welcome: ("welcome", Converter(_WELCOME.to_wire, _welcome_from_wire)),
        ConversationOpen: ("open", Converter(open_to_wire, open_from_wire)),
        m.Volume: ("volume", VOLUME),
        DeviceSettings: ("settings", SETTINGS),
        Restart: ("restart", message(Restart, pb.Restart)),
        Identify: ("identify", message(Identify, pb.Identify)),
        Update: ("update", message(Update, pb.Update)),
        m.Pong: ("pong", PONG),
        m.ConversationError: ("conversation_error", ERROR),
        m.GoAway: ("goaway", GOAWAY),
    },
)
attach_response_to_wire, attach_response_from_wire = _ATTACH_RESPONSE.to_wire, _ATTACH_RESPONSE.from_wire


def join_attach_responses(responses: Iterable[bytes]) -> bytes:
    """Join encoded responses into the bytes of `AttachResponse{joined}`."""
    parts, size = [b""], 0
    for response in responses:
        start = header(pb.JoinedAttachResponses.RESPONSES_FIELD_NUMBER, len(response))
        parts += (start, response)
        size += len(start) + len(response)
    parts[0] = header(pb.AttachResponse.JOINED_FIELD_NUMBER, size)
    return b"".join(parts)


def attach_responses_in(message: pb.AttachResponse) -> Sequence[pb.AttachResponse]:
    """The responses in a message: itself, or those joined in it. Raises `WireError` if there are too many."""
    if not message.HasField("joined"):
        return (message,)
    check_count(message.joined.responses, MAX_JOINED_WITH_DEVICE, "joined.responses")
    responses: Sequence[pb.AttachResponse] = message.joined.responses
    return responses
