"""The publisher's leg: `PublishRequest` and `PublishResponse`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_never

from avatar_relay import messages as m
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import MAX_JOINED_REQUESTS
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.control import (
    COMMANDS_FROM_WIRE,
    end_to_wire,
    limits_from_wire,
    limits_to_wire,
    ping_to_wire,
    pong_from_wire,
    pong_to_wire,
    volume_from_wire,
    volume_to_wire,
)
from avatar_relay.wire.events import event_from_wire, event_to_wire
from avatar_relay.wire.faults import error_from_wire, error_to_wire
from avatar_relay.wire.media import (
    credit_from_wire,
    credit_to_wire,
    cursor_from_wire,
    cursor_to_wire,
    held_from_wire,
    held_to_wire,
    media_to_wire,
    open_from_wire,
    open_to_wire,
    published_media_from_wire,
)
from avatar_relay.wire.raw import is_only, tag, varint
from avatar_relay.wire.values import WireError


def publish_request_to_wire(message: m.FromPublisher | m.Joined) -> publisher_pb.PublishRequest:
    """Encode what a publisher says."""
    return publisher_pb.PublishRequest(**_request_fields(message))


def _request_fields(message: m.FromPublisher | m.Joined) -> dict[str, Any]:
    match message:
        case m.Media():
            return {"media": media_to_wire(message)}
        case m.Joined():
            return {"joined": {"requests": [_request_fields(one) for one in message.messages]}}
        case m.PublisherHello():
            hello = publisher_pb.PublisherHello(
                publisher_id=message.publisher_id,
                protocol_version=message.protocol_version,
                software_version=message.software_version,
                session_token=message.session_token,
            )
            return {"hello": hello}
        case m.PublishOpen():
            held = None if message.held is None else cursor_to_wire(message.held)
            return {"open": publisher_pb.PublishOpen(open=open_to_wire(message.open), targets=message.targets, held=held)}
        case m.AudioOnly():
            return {"audio_only": pb.AudioOnly(conversation_id=message.conversation_id)}
        case m.ConversationEnd():
            return {"end": end_to_wire(message)}
        case m.Interrupt():
            return {"interrupt": pb.Interrupt(conversation_id=message.conversation_id)}
        case m.Pause():
            return {"pause": pb.Pause(conversation_id=message.conversation_id)}
        case m.Resume():
            return {"resume": pb.Resume(conversation_id=message.conversation_id)}
        case m.DeviceVolume():
            return {"volume": publisher_pb.DeviceVolume(device_id=message.device_id, volume=volume_to_wire(message.volume))}
        case m.EventAck():
            return {"event_ack": pb.EventAck(device_id=message.device_id, event_id=message.event_id)}
        case m.Ping():
            return {"ping": ping_to_wire(message)}
        case _:
            assert_never(message)


def _publisher_hello_from_wire(message: publisher_pb.PublisherHello) -> m.PublisherHello:
    if not is_valid_id(message.publisher_id):
        raise WireError(Fault(Reason.HELLO_INVALID, f"publisher_id must be {ID_RULE}", "hello.publisher_id"))
    return m.PublisherHello(message.publisher_id, message.protocol_version, message.software_version[:128], message.session_token)


def _publish_open_from_wire(message: publisher_pb.PublishOpen) -> m.PublishOpen:
    held = cursor_from_wire(message.held) if message.HasField("held") else None
    return m.PublishOpen(open_from_wire(message.open, id_required=held is not None), tuple(message.targets), held)


def _device_volume_from_wire(message: publisher_pb.DeviceVolume) -> m.DeviceVolume:
    return m.DeviceVolume(message.device_id, volume_from_wire(message.volume))


_PUBLISH_REQUEST: dict[str, Callable[[Any], m.AtRelay]] = {
    **COMMANDS_FROM_WIRE,
    "hello": _publisher_hello_from_wire,
    "open": _publish_open_from_wire,
    "volume": _device_volume_from_wire,
}


def publish_request_from_wire(message: publisher_pb.PublishRequest, data: bytes) -> m.AtRelay | None:
    """Check and read what a publisher says, which came as `data`; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    if name == "media":
        return published_media_from_wire(message.media, data)
    return None if name is None or name == "joined" else _PUBLISH_REQUEST[name](getattr(message, name))


def requests_in(message: publisher_pb.PublishRequest, data: bytes) -> Sequence[tuple[publisher_pb.PublishRequest, bytes]]:
    """The requests that a message holds, which came as `data`, each with its own bytes: itself, or those joined in it.

    Raises `WireError` where they are too many.
    """
    if message.WhichOneof("message") != "joined":
        return ((message, data),)
    requests: Sequence[publisher_pb.PublishRequest] = message.joined.requests
    if len(requests) > MAX_JOINED_REQUESTS:
        text = f"{len(requests)} requests joined in one message; at most {MAX_JOINED_REQUESTS} are allowed"
        raise WireError(Fault(Reason.MESSAGE_INVALID, text, "joined.requests"))
    return list(zip(requests, _joined_data(data) or map(_serialized, requests), strict=True))


def _joined_data(data: bytes) -> list[bytes]:
    """The bytes of each joined request; none where the message holds anything else, or is written in an unusual way."""
    found: list[bytes] = []
    if not is_only(publisher_pb.PublishRequest.JOINED_FIELD_NUMBER, data):
        return found
    _, at = varint(data, 1)
    while at < len(data):
        if data[at] != _REQUESTS_TAG:
            return []
        size, at = varint(data, at + 1)
        found.append(data[at : at + size])
        at += size
    return found


_REQUESTS_TAG = tag(publisher_pb.JoinedRequests.REQUESTS_FIELD_NUMBER)


def _serialized(message: publisher_pb.PublishRequest) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _taken_to_wire(taken: m.Taken) -> publisher_pb.Taken:
    return publisher_pb.Taken(
        cursor=cursor_to_wire(taken.cursor),
        audio_bytes=taken.audio_bytes,
        motion_bytes=taken.motion_bytes,
        audio_only=taken.audio_only,
        ended=taken.ended,
    )


def _publisher_welcome_from_wire(message: publisher_pb.PublisherWelcome) -> m.PublisherWelcome:
    taken = tuple(
        m.Taken(cursor_from_wire(item.cursor), item.audio_bytes, item.motion_bytes, item.audio_only, item.ended) for item in message.taken
    )
    return m.PublisherWelcome(message.session_token, limits_from_wire(message.limits), taken)


def publish_response_to_wire(message: m.ToPublisher) -> publisher_pb.PublishResponse:
    """Encode what the relay says to a publisher."""
    response = publisher_pb.PublishResponse
    match message:
        case m.PublisherWelcome():
            taken = [_taken_to_wire(taken) for taken in message.taken]
            limits = limits_to_wire(message.limits)
            return response(welcome=publisher_pb.PublisherWelcome(session_token=message.session_token, limits=limits, taken=taken))
        case m.Opened():
            return response(opened=publisher_pb.Opened(conversation_id=message.conversation_id, device_ids=message.device_ids))
        case m.ConversationCredit():
            grant = publisher_pb.ConversationCredit(conversation_id=message.conversation_id, credit=credit_to_wire(message.credit))
            return response(credit=grant)
        case m.Held():
            return response(held=held_to_wire(message))
        case m.PlayerEvent():
            return response(event=event_to_wire(message))
        case m.ConversationError():
            return response(conversation_error=error_to_wire(message))
        case m.GoAway():
            return response(goaway=pb.GoAway(reason=message.reason, retry_after_ms=message.retry_after_ms))
        case m.Pong():
            return response(pong=pong_to_wire(message))
        case _:
            assert_never(message)


_PUBLISH_RESPONSE: dict[str, Callable[[Any], m.ToPublisher | None]] = {
    "welcome": _publisher_welcome_from_wire,
    "opened": lambda message: m.Opened(message.conversation_id, tuple(message.device_ids)),
    "credit": lambda message: m.ConversationCredit(message.conversation_id, credit_from_wire(message.credit)),
    "held": held_from_wire,
    "event": event_from_wire,
    "conversation_error": error_from_wire,
    "goaway": lambda message: m.GoAway(message.reason, message.retry_after_ms),
    "pong": pong_from_wire,
}


def publish_response_from_wire(message: publisher_pb.PublishResponse) -> m.ToPublisher | None:
    """Read what the relay says to a publisher; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    return None if name is None else _PUBLISH_RESPONSE[name](getattr(message, name))
