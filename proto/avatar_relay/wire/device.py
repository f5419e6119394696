"""The device's leg: `AttachRequest` and `AttachResponse`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from avatar_relay import messages as m
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.media import ConversationOpen, Credit
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.wire.control import (
    COMMANDS_FROM_WIRE,
    end_to_wire,
    limits_from_wire,
    limits_to_wire,
    ping_from_wire,
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
)
from avatar_relay.wire.values import CODEC_FROM_WIRE, CODEC_TO_WIRE, ENCODING_FROM_WIRE, ENCODING_TO_WIRE, WireError


def _hello_to_wire(hello: m.Hello) -> device_pb.Hello:
    return device_pb.Hello(
        device_id=hello.device_id,
        protocol_version=hello.protocol_version,
        software_version=hello.software_version,
        codecs=[CODEC_TO_WIRE[codec] for codec in hello.codecs],
        output_rate_hz=hello.output_rate_hz,
        motion_encodings=[ENCODING_TO_WIRE[encoding] for encoding in hello.motion_encodings],
        buffer=credit_to_wire(hello.buffer),
        session_token=hello.session_token,
        cursors=[cursor_to_wire(cursor) for cursor in hello.cursors],
    )


def _hello_from_wire(message: device_pb.Hello) -> m.Hello:
    if not is_valid_id(message.device_id):
        raise WireError(Fault(Reason.HELLO_INVALID, f"device_id must be {ID_RULE}", "hello.device_id"))
    return m.Hello(
        device_id=message.device_id,
        protocol_version=message.protocol_version,
        software_version=message.software_version[:128],
        codecs=tuple(CODEC_FROM_WIRE[codec] for codec in message.codecs if codec in CODEC_FROM_WIRE),
        output_rate_hz=message.output_rate_hz,
        motion_encodings=tuple(ENCODING_FROM_WIRE[value] for value in message.motion_encodings if value in ENCODING_FROM_WIRE),
        buffer=credit_from_wire(message.buffer),
        session_token=message.session_token,
        cursors=tuple(cursor_from_wire(cursor) for cursor in message.cursors),
    )


def attach_request_to_wire(message: m.ToRelayFromDevice) -> device_pb.AttachRequest:
    """Encode what a device says."""
    match message:
        case m.Hello():
            return device_pb.AttachRequest(hello=_hello_to_wire(message))
        case Credit():
            return device_pb.AttachRequest(credit=credit_to_wire(message))
        case m.Held():
            return device_pb.AttachRequest(held=held_to_wire(message))
        case m.PlayerEvent():
            return device_pb.AttachRequest(event=event_to_wire(message))
        case m.Ping():
            return device_pb.AttachRequest(ping=ping_to_wire(message))
        case m.Pong():
            return device_pb.AttachRequest(pong=pong_to_wire(message))
        case m.Goodbye():
            return device_pb.AttachRequest(goodbye=device_pb.Goodbye(reason=message.reason))
        case m.ConversationError():
            return device_pb.AttachRequest(conversation_error=error_to_wire(message))
        case _:
            assert_never(message)


_ATTACH_REQUEST: dict[str, Callable[[Any], m.ToRelayFromDevice | None]] = {
    "hello": _hello_from_wire,
    "credit": credit_from_wire,
    "held": held_from_wire,
    "event": event_from_wire,
    "ping": ping_from_wire,
    "pong": pong_from_wire,
    "goodbye": lambda message: m.Goodbye(message.reason[:64]),
    "conversation_error": error_from_wire,
}


def attach_request_from_wire(message: device_pb.AttachRequest) -> m.ToRelayFromDevice | None:
    """Check and read what a device says; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    return None if name is None else _ATTACH_REQUEST[name](getattr(message, name))


def attach_response_to_wire(message: m.ToDevice) -> device_pb.AttachResponse:
    """Encode what the relay says to a device."""
    response = device_pb.AttachResponse
    match message:
        case m.Welcome():
            return response(
                welcome=device_pb.Welcome(
                    session_token=message.session_token,
                    limits=limits_to_wire(message.limits),
                    server_time_us=message.server_time_us,
                    server_unix_time_us=message.server_unix_time_us,
                    resumed_conversation_ids=message.resumed_conversation_ids,
                    lost_conversation_ids=message.lost_conversation_ids,
                    volume=volume_to_wire(message.volume),
                )
            )
        case ConversationOpen():
            return response(open=open_to_wire(message))
        case m.Media():
            return response(media=media_to_wire(message))
        case m.AudioOnly():
            return response(audio_only=pb.AudioOnly(conversation_id=message.conversation_id))
        case m.ConversationEnd():
            return response(end=end_to_wire(message))
        case m.Interrupt():
            return response(interrupt=pb.Interrupt(conversation_id=message.conversation_id))
        case m.Pause():
            return response(pause=pb.Pause(conversation_id=message.conversation_id))
        case m.Resume():
            return response(resume=pb.Resume(conversation_id=message.conversation_id))
        case m.Volume():
            return response(volume=volume_to_wire(message))
        case m.Ping():
            return response(ping=ping_to_wire(message))
        case m.Pong():
            return response(pong=pong_to_wire(message))
        case m.EventAck():
            return response(event_ack=pb.EventAck(device_id=message.device_id, event_id=message.event_id))
        case m.ConversationError():
            return response(conversation_error=error_to_wire(message))
        case m.GoAway():
            return response(goaway=pb.GoAway(reason=message.reason, retry_after_ms=message.retry_after_ms))
        case _:
            assert_never(message)


def _welcome_from_wire(message: device_pb.Welcome) -> m.Welcome:
    return m.Welcome(
        session_token=message.session_token,
        limits=limits_from_wire(message.limits),
        server_time_us=message.server_time_us,
        server_unix_time_us=message.server_unix_time_us,
        resumed_conversation_ids=tuple(message.resumed_conversation_ids),
        lost_conversation_ids=tuple(message.lost_conversation_ids),
        volume=volume_from_wire(message.volume) if message.HasField("volume") else m.Volume(),
    )


_ATTACH_RESPONSE: dict[str, Callable[[Any], m.ToDevice]] = COMMANDS_FROM_WIRE | {
    "welcome": _welcome_from_wire,
    "open": open_from_wire,
    "volume": volume_from_wire,
    "pong": pong_from_wire,
    "conversation_error": error_from_wire,
    "goaway": lambda message: m.GoAway(message.reason, message.retry_after_ms),
}


def attach_response_from_wire(message: device_pb.AttachResponse) -> m.ToDevice | None:
    """Check and read what the relay says to a device; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    return None if name is None else _ATTACH_RESPONSE[name](getattr(message, name))
