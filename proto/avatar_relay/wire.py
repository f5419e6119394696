"""Plain messages to protobuf and back: the one place where both programs touch generated classes of the streams.

Reading never trusts: a value that breaks the contract raises `WireError` with a `Fault` that says what was wrong and
where. Unknown fields and unknown `oneof` members are tolerated: the latter read as None, for the caller to count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, assert_never

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from avatar_relay import messages as m
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import (
    MAX_BLENDSHAPE_NAMES,
    MAX_FRAGMENT_BYTES,
    MAX_JOINED_REQUESTS,
    MAX_KEYFRAMES_PER_SECOND,
    MAX_PAYLOAD_BYTES,
    OPUS_RATE_HZ,
    PCM_RATES_HZ,
)
from avatar_relay.media import (
    AudioFormat,
    Codec,
    ConversationOpen,
    Credit,
    Cursor,
    Kind,
    MotionEncoding,
    MotionFormat,
    OnPlaying,
    Pacing,
    Payload,
    TraceContext,
)
from avatar_relay.reasons import ERROR_DOMAIN, Fault, Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb

T = TypeVar("T")


class WireError(Exception):
    """A message breaks the contract. `conversation_id` is set where only that conversation is concerned."""

    def __init__(self, fault: Fault, conversation_id: str | None = None) -> None:
        super().__init__(f"{fault.reason}: {fault.text}")
        self.fault = fault
        self.conversation_id = conversation_id


# --- enumerations --------------------------------------------------------------------------------------------------

_KIND: dict[Kind, Any] = {Kind.AUDIO: pb.KIND_AUDIO, Kind.MOTION: pb.KIND_MOTION}
_CODEC: dict[Codec, Any] = {
    Codec.PCM_S16LE: pb.AudioFormat.CODEC_PCM_S16LE,
    Codec.OGG_OPUS: pb.AudioFormat.CODEC_OGG_OPUS,
    Codec.OPUS: pb.AudioFormat.CODEC_OPUS,
}
_ENCODING: dict[MotionEncoding, Any] = {
    MotionEncoding.AVATARKIT_V2: pb.MotionFormat.ENCODING_AVATARKIT_V2,
    MotionEncoding.BLENDSHAPE_WEIGHTS: pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS,
}
_PACING: dict[Pacing, Any] = {Pacing.BURST: pb.PACING_BURST, Pacing.LIVE: pb.PACING_LIVE}
_ON_PLAYING: dict[OnPlaying, Any] = {OnPlaying.REPLACE: pb.ON_PLAYING_REPLACE, OnPlaying.QUEUE: pb.ON_PLAYING_QUEUE}

_KIND_READ = {value: key for key, value in _KIND.items()}
_CODEC_READ = {value: key for key, value in _CODEC.items()}
_ENCODING_READ = {value: key for key, value in _ENCODING.items()}
_PACING_READ: dict[Any, Pacing] = {pb.PACING_UNSPECIFIED: Pacing.BURST} | {value: key for key, value in _PACING.items()}
_ON_PLAYING_READ: dict[Any, OnPlaying] = {pb.ON_PLAYING_UNSPECIFIED: OnPlaying.REPLACE} | {value: key for key, value in _ON_PLAYING.items()}


def codec_to_wire(codec: Codec) -> Any:
    """The wire's number for a codec."""
    return _CODEC[codec]


def encoding_to_wire(encoding: MotionEncoding) -> Any:
    """The wire's number for a motion encoding."""
    return _ENCODING[encoding]


def on_playing_from_wire(value: int) -> OnPlaying:
    """What a number stands for; raises `WireError` on one that is not defined."""
    read: OnPlaying = _known(_ON_PLAYING_READ, value, "on_playing", Reason.MESSAGE_INVALID)
    return read


def _known(table: dict[Any, T], value: int, field: str, reason: Reason, conversation_id: str | None = None) -> T:
    if value not in table:
        raise WireError(Fault(reason, f"{field}: {value} is not a value that can be used here", field), conversation_id)
    return table[value]


# --- media ---------------------------------------------------------------------------------------------------------


def payload_to_wire(payload: Payload) -> pb.Payload:
    """Encode a payload."""
    return pb.Payload(
        kind=_KIND[payload.kind],
        seq=payload.seq,
        pts_us=payload.pts_us,
        duration_us=payload.duration_us,
        data=payload.data,
        fragment_offset=payload.fragment_offset,
        total_bytes=payload.total_bytes,
    )


def payload_from_wire(message: pb.Payload, conversation_id: str) -> Payload:
    """Check and read a payload; `conversation_id` goes into the error."""
    data, offset, whole, duration_us = message.data, message.fragment_offset, message.total_bytes, message.duration_us
    kind, pts_us, size = _KIND_READ.get(message.kind), message.pts_us, len(data)
    if kind is None or not 0 < size <= MAX_FRAGMENT_BYTES or offset or whole or pts_us <= 0 or duration_us < 0:
        return _unusual_payload_from_wire(message, conversation_id)
    return Payload(kind, message.seq, data, pts_us, duration_us)


def _unusual_payload_from_wire(message: pb.Payload, conversation_id: str) -> Payload:
    """The same for the few that begin a conversation, are fragments, or break the contract."""

    def refuse(reason: Reason, text: str, field: str) -> WireError:
        return WireError(Fault(reason, text, f"media.payloads.{field}"), conversation_id)

    kind = _known(_KIND_READ, message.kind, "media.payloads.kind", Reason.PAYLOAD_INVALID, conversation_id)
    size = len(message.data)
    whole = message.total_bytes or size
    if size == 0:
        raise refuse(Reason.PAYLOAD_INVALID, "a payload is never empty: send `end` or `audio_only` instead", "data")
    if whole > MAX_PAYLOAD_BYTES:
        raise refuse(Reason.PAYLOAD_TOO_LARGE, f"a payload of {whole} bytes; at most {MAX_PAYLOAD_BYTES} are allowed", "data")
    if message.fragment_offset + size > whole:
        text = f"bytes {message.fragment_offset} to {message.fragment_offset + size} lie outside a payload of {whole} bytes"
        raise refuse(Reason.FRAGMENT_INVALID, text, "fragment_offset")
    if message.duration_us < 0:
        raise refuse(Reason.PAYLOAD_INVALID, "duration_us is negative", "duration_us")
    pts_us = message.pts_us if message.HasField("pts_us") else None
    if pts_us is not None and pts_us < 0:
        raise refuse(Reason.PAYLOAD_INVALID, "pts_us is negative", "pts_us")
    return Payload(
        kind=kind,
        seq=message.seq,
        data=message.data,
        pts_us=pts_us,
        duration_us=message.duration_us,
        fragment_offset=message.fragment_offset,
        total_bytes=0 if whole == size else message.total_bytes,
    )


def media_to_wire(media: m.Media) -> pb.Media:
    """Encode payloads of one conversation."""
    return pb.Media(conversation_id=media.conversation_id, payloads=[payload_to_wire(payload) for payload in media.payloads])


def encode_payload(payload: Payload) -> bytes:
    """A payload as bytes, for `splice_media_response`: an entry of `Media.payloads` with its tag and length."""
    return _delimited(_MEDIA_PAYLOADS, payload_to_wire(payload).SerializeToString())


def splice_media_response(conversation_id: str, payloads: Iterable[bytes]) -> bytes:
    """The bytes of `AttachResponse{media}` out of payloads that are encoded already: one encoding serves all devices.

    Fields of a message are length-delimited (protobuf encoding, "Length-Delimited Records"), so that they can be put together.
    """
    media = b"".join((_delimited(_MEDIA_CONVERSATION_ID, conversation_id.encode()), *payloads))
    return _delimited(_RESPONSE_MEDIA, media)


_MEDIA_CONVERSATION_ID = pb.Media.CONVERSATION_ID_FIELD_NUMBER
_MEDIA_PAYLOADS = pb.Media.PAYLOADS_FIELD_NUMBER
_RESPONSE_MEDIA = device_pb.AttachResponse.MEDIA_FIELD_NUMBER


_MAX_ENVELOPE_BYTES = 96
"""An encoded payload is at most this much larger than its media, unless somebody put into it what this version does not know."""


def _delimited(field: int, data: bytes) -> bytes:
    return _header(field, len(data)) + data


@lru_cache(maxsize=4_096)
def _header(field: int, length: int) -> bytes:
    header = bytearray([field << 3 | 2])
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header)


def published_media_from_wire(message: pb.Media) -> m.Media:
    """Check and read payloads that are to be passed on: with their bytes, unless these hold more than the payloads."""
    media = media_from_wire(message)
    encoded = tuple([_delimited(_MEDIA_PAYLOADS, payload.SerializeToString()) for payload in message.payloads])
    size = sum([len(payload.data) for payload in media.payloads])
    known = sum(map(len, encoded)) <= size + _MAX_ENVELOPE_BYTES * len(encoded)
    return m.Media(media.conversation_id, media.payloads, encoded if known else ())


def media_from_wire(message: pb.Media) -> m.Media:
    """Check and read payloads of one conversation."""
    conversation_id = message.conversation_id
    if not message.payloads:
        raise WireError(Fault(Reason.PAYLOAD_INVALID, "media without payloads", "media.payloads"), conversation_id)
    return m.Media(conversation_id, tuple([payload_from_wire(payload, conversation_id) for payload in message.payloads]))


def audio_format_from_wire(message: pb.AudioFormat, conversation_id: str) -> AudioFormat:
    """Check and read an audio format."""
    field = "open.audio_format"
    codec = _known(_CODEC_READ, message.codec, f"{field}.codec", Reason.AUDIO_FORMAT_UNSUPPORTED, conversation_id)
    rates = PCM_RATES_HZ if codec is Codec.PCM_S16LE else (OPUS_RATE_HZ,)
    rate_hz = message.sample_rate_hz or (0 if codec is Codec.PCM_S16LE else OPUS_RATE_HZ)
    channels = message.channels or 1
    if rate_hz not in rates:
        text = f"{codec.value} at {rate_hz} Hz; possible are {', '.join(map(str, rates))} Hz"
        raise WireError(Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, text, f"{field}.sample_rate_hz"), conversation_id)
    if channels != 1:
        text = f"{channels} channels; only mono is carried: mix down first"
        raise WireError(Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, text, f"{field}.channels"), conversation_id)
    return AudioFormat(codec, rate_hz, channels)


def motion_format_from_wire(message: pb.MotionFormat, conversation_id: str) -> MotionFormat:
    """Check and read a motion format."""
    field = "open.motion_format"
    encoding = _known(_ENCODING_READ, message.encoding, f"{field}.encoding", Reason.MOTION_FORMAT_UNSUPPORTED, conversation_id)
    rate = message.keyframes_per_second
    if not 0 < rate <= MAX_KEYFRAMES_PER_SECOND:
        text = f"{rate} keyframes per second; it must be above 0 and at most {MAX_KEYFRAMES_PER_SECOND:g}"
        raise WireError(Fault(Reason.MOTION_FORMAT_UNSUPPORTED, text, f"{field}.keyframes_per_second"), conversation_id)
    names = tuple(message.blendshape_names)
    weights = encoding is MotionEncoding.BLENDSHAPE_WEIGHTS
    if weights != bool(names) or len(names) > MAX_BLENDSHAPE_NAMES or len(set(names)) != len(names):
        text = f"weights need 1 to {MAX_BLENDSHAPE_NAMES} different blendshape names, AvatarKit motion needs none; got {len(names)}"
        raise WireError(Fault(Reason.MOTION_FORMAT_UNSUPPORTED, text, f"{field}.blendshape_names"), conversation_id)
    return MotionFormat(encoding, rate, names)


def open_to_wire(open_: ConversationOpen) -> pb.ConversationOpen:
    """Encode the opening of a conversation."""
    message = pb.ConversationOpen(
        conversation_id=open_.conversation_id,
        audio_format=pb.AudioFormat(
            codec=_CODEC[open_.audio_format.codec],
            sample_rate_hz=open_.audio_format.sample_rate_hz,
            channels=open_.audio_format.channels,
        ),
        pacing=_PACING[open_.pacing],
        on_playing=_ON_PLAYING[open_.on_playing],
    )
    if open_.motion_format is not None:
        motion = open_.motion_format
        message.motion_format.encoding = _ENCODING[motion.encoding]
        message.motion_format.keyframes_per_second = motion.keyframes_per_second
        message.motion_format.blendshape_names.extend(motion.blendshape_names)
    if open_.trace_context.traceparent:
        message.trace_context.traceparent = open_.trace_context.traceparent
        message.trace_context.tracestate = open_.trace_context.tracestate
    return message


def open_from_wire(message: pb.ConversationOpen, *, id_required: bool = True) -> ConversationOpen:
    """Check and read the opening of a conversation; without an id only where the relay mints one."""
    conversation_id = message.conversation_id
    if (conversation_id or id_required) and not is_valid_id(conversation_id):
        fault = Fault(Reason.CONVERSATION_ID_INVALID, f"conversation_id must be {ID_RULE}", "open.conversation_id")
        raise WireError(fault, conversation_id[:64])
    has_motion = message.HasField("motion_format") and message.motion_format.encoding != pb.MotionFormat.ENCODING_UNSPECIFIED
    return ConversationOpen(
        conversation_id=conversation_id,
        audio_format=audio_format_from_wire(message.audio_format, conversation_id),
        motion_format=motion_format_from_wire(message.motion_format, conversation_id) if has_motion else None,
        pacing=_known(_PACING_READ, message.pacing, "open.pacing", Reason.MESSAGE_INVALID, conversation_id),
        on_playing=_known(_ON_PLAYING_READ, message.on_playing, "open.on_playing", Reason.MESSAGE_INVALID, conversation_id),
        trace_context=TraceContext(message.trace_context.traceparent, message.trace_context.tracestate),
    )


def credit_to_wire(credit: Credit) -> pb.Credit:
    """Encode a grant."""
    return pb.Credit(audio_bytes=credit.audio_bytes, motion_bytes=credit.motion_bytes)


def credit_from_wire(message: pb.Credit) -> Credit:
    """Check and read a grant."""
    if max(message.audio_bytes, message.motion_bytes) > 1 << 40:
        raise WireError(Fault(Reason.CREDIT_INVALID, "a grant of more than a tebibyte can not be meant", "credit"))
    return Credit(message.audio_bytes, message.motion_bytes)


def cursor_to_wire(cursor: Cursor) -> pb.Cursor:
    """Encode a cursor."""
    return pb.Cursor(conversation_id=cursor.conversation_id, audio_seq=cursor.audio_seq, motion_seq=cursor.motion_seq)


def cursor_from_wire(message: pb.Cursor) -> Cursor:
    """Read a cursor."""
    return Cursor(message.conversation_id, message.audio_seq, message.motion_seq)


def held_to_wire(held: m.Held) -> pb.Held:
    """Encode what a device holds."""
    return pb.Held(cursors=[cursor_to_wire(cursor) for cursor in held.cursors], device_id=held.device_id)


def held_from_wire(message: pb.Held) -> m.Held:
    """Read what a device holds."""
    return m.Held(tuple(cursor_from_wire(cursor) for cursor in message.cursors), message.device_id)


# --- faults --------------------------------------------------------------------------------------------------------


def fault_to_status(fault: Fault) -> status_pb2.Status:
    """A fault as `google.rpc.Status` with ErrorInfo, and BadRequest and RetryInfo where they apply."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=fault.reason.value, domain=ERROR_DOMAIN)]
    if fault.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=fault.field, description=fault.text)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if fault.retry_after_ms:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(fault.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_pb2.Code.Value(fault.code), message=fault.text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def fault_from_status(status: status_pb2.Status) -> Fault:
    """Read a fault back; a reason that this version does not know reads as MESSAGE_INVALID with the text kept."""
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for message in (info, request, retry):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    known = info.reason in Reason.__members__
    return Fault(
        reason=Reason(info.reason) if known else Reason.MESSAGE_INVALID,
        text=status.message if known or not info.reason else f"{info.reason}: {status.message}",
        field=request.field_violations[0].field if request.field_violations else "",
        retry_after_ms=retry.retry_delay.ToMilliseconds(),
    )


def error_to_wire(error: m.ConversationError) -> pb.ConversationError:
    """Encode a conversation's fault."""
    return pb.ConversationError(conversation_id=error.conversation_id, status=fault_to_status(error.fault), device_id=error.device_id)


def error_from_wire(message: pb.ConversationError) -> m.ConversationError:
    """Read a conversation's fault."""
    return m.ConversationError(message.conversation_id, fault_from_status(message.status), message.device_id)


# --- player events -------------------------------------------------------------------------------------------------


def event_to_wire(event: m.PlayerEvent) -> pb.PlayerEvent:
    """Encode a player event."""
    message = pb.PlayerEvent(event_id=event.event_id, conversation_id=event.conversation_id, device_id=event.device_id)
    body = event.body
    match body:
        case m.Started():
            message.started.SetInParent()
        case m.Finished():
            message.finished.SetInParent()
            message.finished.position_us = body.position_us
            message.finished.interrupted = body.interrupted
            message.finished.reason = body.reason
        case m.Dropped():
            message.dropped.kind = _KIND[body.kind]
            message.dropped.payloads = body.payloads
            message.dropped.bytes = body.bytes
            message.dropped.reason = body.reason
        case m.Stalled():
            message.stalled.stalled = body.stalled
            message.stalled.kind = _KIND[body.kind]
        case m.DurationMismatch():
            message.duration_mismatch.audio_us = body.audio_us
            message.duration_mismatch.motion_us = body.motion_us
        case m.Paused():
            message.paused.SetInParent()
            message.paused.position_us = body.position_us
        case m.Resumed():
            message.resumed.SetInParent()
            message.resumed.position_us = body.position_us
        case _:
            assert_never(body)
    return message


def event_from_wire(message: pb.PlayerEvent) -> m.PlayerEvent | None:
    """Read a player event; None for a kind of event that this version does not know."""
    name = message.WhichOneof("event")
    kind = Reason.MESSAGE_INVALID
    read: dict[str, Callable[[], m.PlayerEventBody]] = {
        "started": m.Started,
        "finished": lambda: m.Finished(message.finished.position_us, message.finished.interrupted, message.finished.reason),
        "dropped": lambda: m.Dropped(
            _known(_KIND_READ, message.dropped.kind, "event.dropped.kind", kind),
            message.dropped.payloads,
            message.dropped.bytes,
            message.dropped.reason,
        ),
        "stalled": lambda: m.Stalled(message.stalled.stalled, _known(_KIND_READ, message.stalled.kind, "event.stalled.kind", kind)),
        "duration_mismatch": lambda: m.DurationMismatch(message.duration_mismatch.audio_us, message.duration_mismatch.motion_us),
        "paused": lambda: m.Paused(message.paused.position_us),
        "resumed": lambda: m.Resumed(message.resumed.position_us),
    }
    if name is None or name not in read:
        return None
    return m.PlayerEvent(message.event_id, message.conversation_id, read[name](), message.device_id)


# --- small shared messages -----------------------------------------------------------------------------------------


def _end_to_wire(end: m.ConversationEnd) -> pb.ConversationEnd:
    return pb.ConversationEnd(conversation_id=end.conversation_id, last_audio_seq=end.last_audio_seq, last_motion_seq=end.last_motion_seq)


def _end_from_wire(message: pb.ConversationEnd) -> m.ConversationEnd:
    return m.ConversationEnd(message.conversation_id, message.last_audio_seq, message.last_motion_seq)


def volume_to_wire(volume: m.Volume) -> pb.SetVolume:
    """Encode a loudness."""
    return pb.SetVolume(gain=volume.gain, muted=volume.muted)


def volume_from_wire(message: pb.SetVolume) -> m.Volume:
    """Check and read a loudness."""
    if not 0.0 <= message.gain <= 1.0:
        raise WireError(Fault(Reason.VOLUME_INVALID, f"a gain of {message.gain}; it must lie between 0 and 1", "volume.gain"))
    return m.Volume(message.gain, message.muted)


def _ping_to_wire(ping: m.Ping) -> pb.Ping:
    return pb.Ping(id=ping.ping_id, sent_time_us=ping.sent_time_us)


def _ping_from_wire(message: pb.Ping) -> m.Ping:
    return m.Ping(message.id, message.sent_time_us)


def _pong_to_wire(pong: m.Pong) -> pb.Pong:
    return pb.Pong(
        id=pong.ping_id,
        ping_sent_time_us=pong.ping_sent_time_us,
        received_time_us=pong.received_time_us,
        sent_time_us=pong.sent_time_us,
        sent_unix_time_us=pong.sent_unix_time_us,
    )


def _pong_from_wire(message: pb.Pong) -> m.Pong:
    return m.Pong(message.id, message.ping_sent_time_us, message.received_time_us, message.sent_time_us, message.sent_unix_time_us)


def _limits_to_wire(limits: m.Limits) -> pb.Limits:
    return pb.Limits(
        max_payload_bytes=limits.max_payload_bytes,
        max_message_bytes=limits.max_message_bytes,
        max_fragment_bytes=limits.max_fragment_bytes,
        lease_ms=limits.lease_ms,
        heartbeat_ms=limits.heartbeat_ms,
        max_joined_requests=limits.max_joined_requests,
    )


def _limits_from_wire(message: pb.Limits) -> m.Limits:
    return m.Limits(
        message.max_payload_bytes,
        message.max_message_bytes,
        message.max_fragment_bytes,
        message.lease_ms,
        message.heartbeat_ms,
        message.max_joined_requests,
    )


# --- the device's leg ----------------------------------------------------------------------------------------------


def _hello_to_wire(hello: m.Hello) -> device_pb.Hello:
    return device_pb.Hello(
        device_id=hello.device_id,
        protocol_version=hello.protocol_version,
        software_version=hello.software_version,
        codecs=[_CODEC[codec] for codec in hello.codecs],
        output_rate_hz=hello.output_rate_hz,
        motion_encodings=[_ENCODING[encoding] for encoding in hello.motion_encodings],
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
        codecs=tuple(_CODEC_READ[codec] for codec in message.codecs if codec in _CODEC_READ),
        output_rate_hz=message.output_rate_hz,
        motion_encodings=tuple(_ENCODING_READ[value] for value in message.motion_encodings if value in _ENCODING_READ),
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
            return device_pb.AttachRequest(ping=_ping_to_wire(message))
        case m.Pong():
            return device_pb.AttachRequest(pong=_pong_to_wire(message))
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
    "ping": _ping_from_wire,
    "pong": _pong_from_wire,
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
                    limits=_limits_to_wire(message.limits),
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
            return response(end=_end_to_wire(message))
        case m.Interrupt():
            return response(interrupt=pb.Interrupt(conversation_id=message.conversation_id))
        case m.Pause():
            return response(pause=pb.Pause(conversation_id=message.conversation_id))
        case m.Resume():
            return response(resume=pb.Resume(conversation_id=message.conversation_id))
        case m.Volume():
            return response(volume=volume_to_wire(message))
        case m.Ping():
            return response(ping=_ping_to_wire(message))
        case m.Pong():
            return response(pong=_pong_to_wire(message))
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
        limits=_limits_from_wire(message.limits),
        server_time_us=message.server_time_us,
        server_unix_time_us=message.server_unix_time_us,
        resumed_conversation_ids=tuple(message.resumed_conversation_ids),
        lost_conversation_ids=tuple(message.lost_conversation_ids),
        volume=volume_from_wire(message.volume) if message.HasField("volume") else m.Volume(),
    )


_COMMANDS: dict[str, Callable[[Any], Any]] = {
    "media": media_from_wire,
    "audio_only": lambda message: m.AudioOnly(message.conversation_id),
    "end": _end_from_wire,
    "interrupt": lambda message: m.Interrupt(message.conversation_id),
    "pause": lambda message: m.Pause(message.conversation_id),
    "resume": lambda message: m.Resume(message.conversation_id),
    "event_ack": lambda message: m.EventAck(message.event_id, message.device_id),
    "ping": _ping_from_wire,
}

_ATTACH_RESPONSE: dict[str, Callable[[Any], m.ToDevice]] = _COMMANDS | {
    "welcome": _welcome_from_wire,
    "open": open_from_wire,
    "volume": volume_from_wire,
    "pong": _pong_from_wire,
    "conversation_error": error_from_wire,
    "goaway": lambda message: m.GoAway(message.reason, message.retry_after_ms),
}


def attach_response_from_wire(message: device_pb.AttachResponse) -> m.ToDevice | None:
    """Check and read what the relay says to a device; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    return None if name is None else _ATTACH_RESPONSE[name](getattr(message, name))


# --- the publisher's leg -------------------------------------------------------------------------------------------


def publish_request_to_wire(message: m.FromPublisher | m.Joined) -> publisher_pb.PublishRequest:
    """Encode what a publisher says."""
    request = publisher_pb.PublishRequest
    match message:
        case m.Joined():
            return request(joined=publisher_pb.JoinedRequests(requests=[publish_request_to_wire(one) for one in message.messages]))
        case m.PublisherHello():
            return request(
                hello=publisher_pb.PublisherHello(
                    publisher_id=message.publisher_id,
                    protocol_version=message.protocol_version,
                    software_version=message.software_version,
                    session_token=message.session_token,
                )
            )
        case m.PublishOpen():
            held = None if message.held is None else cursor_to_wire(message.held)
            return request(open=publisher_pb.PublishOpen(open=open_to_wire(message.open), targets=message.targets, held=held))
        case m.Media():
            return request(media=media_to_wire(message))
        case m.AudioOnly():
            return request(audio_only=pb.AudioOnly(conversation_id=message.conversation_id))
        case m.ConversationEnd():
            return request(end=_end_to_wire(message))
        case m.Interrupt():
            return request(interrupt=pb.Interrupt(conversation_id=message.conversation_id))
        case m.Pause():
            return request(pause=pb.Pause(conversation_id=message.conversation_id))
        case m.Resume():
            return request(resume=pb.Resume(conversation_id=message.conversation_id))
        case m.DeviceVolume():
            volume = publisher_pb.DeviceVolume(device_id=message.device_id, volume=volume_to_wire(message.volume))
            return request(volume=volume)
        case m.EventAck():
            return request(event_ack=pb.EventAck(device_id=message.device_id, event_id=message.event_id))
        case m.Ping():
            return request(ping=_ping_to_wire(message))
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


_PUBLISH_REQUEST: dict[str, Callable[[Any], m.FromPublisher]] = {
    **_COMMANDS,
    "hello": _publisher_hello_from_wire,
    "open": _publish_open_from_wire,
    "media": published_media_from_wire,
    "volume": _device_volume_from_wire,
}


def publish_request_from_wire(message: publisher_pb.PublishRequest) -> m.FromPublisher | None:
    """Check and read what a publisher says; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    return None if name is None or name == "joined" else _PUBLISH_REQUEST[name](getattr(message, name))


def requests_in(message: publisher_pb.PublishRequest) -> Sequence[publisher_pb.PublishRequest]:
    """The requests that a message holds: itself, or those joined in it. Raises `WireError` where they are too many."""
    if message.WhichOneof("message") != "joined":
        return (message,)
    requests: Sequence[publisher_pb.PublishRequest] = message.joined.requests
    if len(requests) > MAX_JOINED_REQUESTS:
        text = f"{len(requests)} requests joined in one message; at most {MAX_JOINED_REQUESTS} are allowed"
        raise WireError(Fault(Reason.MESSAGE_INVALID, text, "joined.requests"))
    return requests


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
    return m.PublisherWelcome(message.session_token, _limits_from_wire(message.limits), taken)


def publish_response_to_wire(message: m.ToPublisher) -> publisher_pb.PublishResponse:
    """Encode what the relay says to a publisher."""
    response = publisher_pb.PublishResponse
    match message:
        case m.PublisherWelcome():
            taken = [_taken_to_wire(taken) for taken in message.taken]
            limits = _limits_to_wire(message.limits)
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
            return response(pong=_pong_to_wire(message))
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
    "pong": _pong_from_wire,
}


def publish_response_from_wire(message: publisher_pb.PublishResponse) -> m.ToPublisher | None:
    """Read what the relay says to a publisher; None for what this version does not know. Raises `WireError`."""
    name = message.WhichOneof("message")
    return None if name is None else _PUBLISH_RESPONSE[name](getattr(message, name))
