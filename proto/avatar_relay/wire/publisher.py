"""Messages between publisher and relay: `PublishRequest` and `PublishResponse`."""

from __future__ import annotations

from collections.abc import Sequence

from avatar_relay import messages as m
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import MAX_ID_CHARACTERS, MAX_JOINED_REQUESTS, MAX_NAMES, MAX_SOFTWARE_CHARACTERS, MAX_TOKEN_CHARACTERS
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import publisher_service_pb2 as pb
from avatar_relay.wire.control import COMMANDS, CREDIT, CURSOR, ERROR, EVENT, GOAWAY, HELD, LIMITS, PONG, VOLUME
from avatar_relay.wire.converters import Converter, OneOf, at_most, cut_to, message, repeated, texts
from avatar_relay.wire.live_media import joined_data_in
from avatar_relay.wire.media import open_from_wire, open_to_wire, published_media_from_wire, put_media
from avatar_relay.wire.values import WireError, bounded, check_count


def _check_hello(hello: pb.PublisherHello) -> None:
    if not is_valid_id(hello.publisher_id):
        raise WireError(Fault(Reason.HELLO_INVALID, f"publisher_id must be {ID_RULE}", "hello.publisher_id"))


def _publish_open_to_wire(message: m.PublishOpen) -> pb.PublishOpen:
    held = None if message.held is None else CURSOR.to_wire(message.held)
    return pb.PublishOpen(open=open_to_wire(message.open), targets=message.targets, held=held)


def _publish_open_from_wire(message: pb.PublishOpen) -> m.PublishOpen:
    held = CURSOR.from_wire(message.held) if message.HasField("held") else None
    conversation_id = message.open.conversation_id[:MAX_ID_CHARACTERS]
    check_count(message.targets, MAX_NAMES, "targets", conversation_id)
    targets = tuple([bounded(target, MAX_ID_CHARACTERS, "targets", conversation_id) for target in message.targets])
    return m.PublishOpen(open_from_wire(message.open, id_required=held is not None), targets, held)


_HELLO = message(
    m.PublisherHello,
    pb.PublisherHello,
    check=_check_hello,
    software_version=cut_to(MAX_SOFTWARE_CHARACTERS),
    session_token=at_most(MAX_TOKEN_CHARACTERS, "hello.session_token"),
)

_PUBLISH_REQUEST: OneOf[m.FromPublisher] = OneOf(
    pb.PublishRequest,
    "message",
    COMMANDS
    | {
        m.PublisherHello: ("hello", _HELLO),
        m.PublishOpen: ("open", Converter(_publish_open_to_wire, _publish_open_from_wire)),
        m.DeviceVolume: ("volume", message(m.DeviceVolume, pb.DeviceVolume, device_id=cut_to(MAX_ID_CHARACTERS), volume=VOLUME)),
    },
)


def publish_request_to_wire(message: m.FromPublisher | m.Joined) -> pb.PublishRequest:
    """Encode a publisher's message."""
    request, messages = pb.PublishRequest(), message.messages if isinstance(message, m.Joined) else (message,)
    for one in messages:
        into = request if one is message else request.joined.requests.add()
        if isinstance(one, m.Media):
            put_media(into.media, one)
        else:
            into.MergeFrom(_PUBLISH_REQUEST.to_wire(one))
    return request


def publish_request_from_wire(message: pb.PublishRequest, data: bytes) -> m.AtRelay | None:
    """Check and read a publisher's message, received as `data`; None if this version does not know it. Raises `WireError`."""
    if message.WhichOneof("message") == "media":
        return published_media_from_wire(message.media, data)
    return _PUBLISH_REQUEST.from_wire(message)


def requests_in(message: pb.PublishRequest, data: bytes) -> Sequence[tuple[pb.PublishRequest, bytes]]:
    """The requests in a message, received as `data`, each with its own bytes: itself, or those joined in it.

    Raises `WireError` if there are too many.
    """
    if message.WhichOneof("message") != "joined":
        return ((message, data),)
    requests: Sequence[pb.PublishRequest] = message.joined.requests
    if len(requests) > MAX_JOINED_REQUESTS:
        text = f"{len(requests)} requests joined in one message; at most {MAX_JOINED_REQUESTS} are allowed"
        raise WireError(Fault(Reason.MESSAGE_INVALID, text, "joined.requests"))
    return list(zip(requests, joined_data_in(data) or [one.SerializeToString() for one in requests], strict=True))


MAX_TAKEN = 16_384
"""Bound of the conversations, and of devices in groups, that a relay reports to a publisher."""
_TAKEN = message(m.Taken, pb.Taken, cursor=CURSOR)
_WELCOME = message(m.PublisherWelcome, pb.PublisherWelcome, limits=LIMITS, taken=repeated(_TAKEN, MAX_TAKEN, "welcome.taken"))

_PUBLISH_RESPONSE: OneOf[m.ToPublisher] = OneOf(
    pb.PublishResponse,
    "message",
    {
        m.PublisherWelcome: ("welcome", _WELCOME),
        m.Opened: ("opened", message(m.Opened, pb.Opened, device_ids=texts(MAX_TAKEN, "opened.device_ids"))),
        m.ConversationCredit: ("credit", message(m.ConversationCredit, pb.ConversationCredit, credit=CREDIT)),
        m.Held: ("held", HELD),
        m.PlayerEvent: ("event", EVENT),
        m.UnknownEvent: ("event", EVENT),
        m.ConversationError: ("conversation_error", ERROR),
        m.GoAway: ("goaway", GOAWAY),
        m.Pong: ("pong", PONG),
    },
)
publish_response_to_wire, publish_response_from_wire = _PUBLISH_RESPONSE.to_wire, _PUBLISH_RESPONSE.from_wire
