"""Payloads, formats and the opening of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from avatar_relay import messages as m
from avatar_relay.checks import FieldError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import (
    MAX_BLENDSHAPE_NAMES,
    MAX_DEVICE_MESSAGE_PAYLOADS,
    MAX_FRAGMENT_BYTES,
    MAX_ID_CHARACTERS,
    MAX_MESSAGE_PAYLOADS,
    MAX_PAYLOAD_BYTES,
    MAX_TRACEPARENT_CHARACTERS,
    MAX_TRACESTATE_CHARACTERS,
)
from avatar_relay.media import (
    AS_MOTION_SAYS,
    AngleUnit,
    AudioFormat,
    ConversationOpen,
    EncodedMedia,
    Expression,
    ExpressionPreset,
    Kind,
    MotionFormat,
    Payload,
    PayloadColumns,
    TraceContext,
)
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.wire.raw import delimited, header, is_only
from avatar_relay.wire.values import (
    ANGLE_UNIT_FROM_WIRE,
    ANGLE_UNIT_TO_WIRE,
    CODEC_FROM_WIRE,
    CODEC_TO_WIRE,
    ENCODING_FROM_WIRE,
    ENCODING_TO_WIRE,
    KIND_FROM_WIRE,
    KIND_TO_WIRE,
    NAME_SET_FROM_WIRE,
    NAME_SET_TO_WIRE,
    ON_PLAYING_FROM_WIRE,
    ON_PLAYING_TO_WIRE,
    PACING_FROM_WIRE,
    PACING_TO_WIRE,
    PRESET_FROM_WIRE,
    PRESET_TO_WIRE,
    WireError,
    bounded,
    check_count,
    known,
)


def payload_from_wire(message: pb.Payload, conversation_id: str) -> Payload:
    """Check and read a payload; `conversation_id` is used in the error."""
    data, offset, whole, duration_us = message.data, message.fragment_offset, message.total_bytes, message.duration_us
    kind, pts_us, size = KIND_FROM_WIRE.get(message.kind), message.pts_us, len(data)
    if kind is None or not 0 < size <= MAX_FRAGMENT_BYTES or offset or whole or pts_us <= 0 or duration_us < 0:
        return _unusual_payload_from_wire(message, conversation_id)
    return Payload(kind, message.seq, data, pts_us, duration_us)


def _unusual_payload_from_wire(message: pb.Payload, conversation_id: str) -> Payload:
    """`payload_from_wire` for the few payloads that begin a conversation, are fragments, or break the contract."""

    def refuse(reason: Reason, text: str, field: str) -> WireError:
        return WireError(Fault(reason, text, f"media.payloads.{field}"), conversation_id)

    kind = known(KIND_FROM_WIRE, message.kind, "media.payloads.kind", Reason.PAYLOAD_INVALID, conversation_id)
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
    """Payloads of one conversation."""
    message = pb.Media()
    put_media(message, media)
    return message


def put_media(into: pb.Media, media: m.Media) -> None:
    """Payloads of one conversation, put into an empty `Media`: one made before would be copied when put into another message."""
    into.conversation_id = media.conversation_id
    for kind, seq, data, pts_us, duration_us, offset, total in media.payloads:
        into.payloads.add(
            kind=KIND_TO_WIRE[kind], seq=seq, pts_us=pts_us, duration_us=duration_us, data=data, fragment_offset=offset, total_bytes=total
        )


def encode_payload(payload: Payload) -> bytes:
    """A payload as bytes, for `splice_media_response`: an entry of `Media.payloads` with its tag and length."""
    data: bytes = media_to_wire(m.Media("", (payload,))).SerializeToString()
    return data


def splice_media_response(conversation_id: str, payloads: Iterable[bytes]) -> bytes:
    """The bytes of `AttachResponse{media}` from encoded payloads: one encoding serves all devices."""
    parts = [delimited(_MEDIA_CONVERSATION_ID, conversation_id.encode()), *payloads]
    return b"".join((header(_RESPONSE_MEDIA, sum(map(len, parts))), *parts))


def join_media_responses(messages: Sequence[EncodedMedia]) -> bytes:
    """The bytes of `AttachResponse{media}` with all payloads of several messages of one conversation.

    A message that occurs twice on the wire is merged, its repeated fields appended (protobuf encoding, "Last One Wins").
    """
    return b"".join([encoded.data for encoded in messages])


_MEDIA_CONVERSATION_ID = pb.Media.CONVERSATION_ID_FIELD_NUMBER
_MEDIA_PAYLOADS = pb.Media.PAYLOADS_FIELD_NUMBER
_RESPONSE_MEDIA = device_pb.AttachResponse.MEDIA_FIELD_NUMBER


_MAX_ENVELOPE_BYTES = 96
"""Bound of an encoded payload's size beyond its media, and of the envelope around all of them, unless there are unknown fields."""


def published_media_from_wire(message: pb.Media, data: bytes) -> m.Media | m.PublishedMedia:
    """Check and read payloads to be forwarded: in columns, or one by one if any of them is unusual.

    `data` is the `PublishRequest` that contained them. `media` has the same field number there as in `AttachResponse`, so that a request
    with nothing else is, byte for byte, the device's response.
    """
    if len(message.payloads) > MAX_MESSAGE_PAYLOADS:
        check_count(message.payloads, MAX_MESSAGE_PAYLOADS, "media.payloads", message.conversation_id[:MAX_ID_CHARACTERS])
    rows = []
    for payload in message.payloads:  # no comprehension: in Python 3.11 that is one more call per message
        kind, pts_us, duration_us = KIND_FROM_WIRE.get(payload.kind), payload.pts_us, payload.duration_us
        size, offset, total = len(payload.data), payload.fragment_offset, payload.total_bytes
        if (
            kind is None
            or not 0 < size <= MAX_FRAGMENT_BYTES
            or duration_us < 0
            or pts_us < 0
            or not (pts_us or payload.HasField("pts_us"))
        ):
            return media_from_wire(message)
        if (offset or total) and (offset + size > total or size == total or total > MAX_PAYLOAD_BYTES):
            return media_from_wire(message)
        rows.append((kind, payload.seq, pts_us, duration_us, size, offset, total))
    if not rows or not 0 < len(message.conversation_id) <= MAX_ID_CHARACTERS or not is_only(_RESPONSE_MEDIA, data):
        return media_from_wire(message)
    kinds, *values = zip(*rows, strict=True)
    if len(data) > sum(values[_SIZES]) + _MAX_ENVELOPE_BYTES * (len(rows) + 1):
        return media_from_wire(message)
    if kinds.count(kinds[0]) == len(kinds):  # nearly always: a library sends one kind at a time
        columns: tuple[PayloadColumns, ...] = (PayloadColumns(kinds[0], *values),)
        counts = {kinds[0]: len(kinds)}
    else:
        by_kind = {kind: [row[1:] for row in rows if row[0] is kind] for kind in Kind if kind in kinds}
        columns = tuple([PayloadColumns(kind, *zip(*its_rows, strict=True)) for kind, its_rows in by_kind.items()])
        counts = {kind: len(its_rows) for kind, its_rows in by_kind.items()}
    return m.PublishedMedia(message.conversation_id, columns, partial(media_from_wire, message), EncodedMedia(data, counts, unpack, []))


_SIZES = PayloadColumns._fields.index("sizes") - 1


def unpack(data: bytes) -> dict[Kind, list[bytes]]:
    """Take an encoded `AttachResponse{media}` apart; see `EncodedMedia`."""
    entries: dict[Kind, list[bytes]] = {kind: [] for kind in Kind}
    for payload in device_pb.AttachResponse.FromString(data).media.payloads:
        entries[KIND_FROM_WIRE[payload.kind]].append(delimited(_MEDIA_PAYLOADS, payload.SerializeToString()))
    return entries


def media_from_wire(message: pb.Media) -> m.Media:
    """Check and read payloads of one conversation."""
    conversation_id = bounded(message.conversation_id, MAX_ID_CHARACTERS, "media.conversation_id")
    check_count(message.payloads, MAX_DEVICE_MESSAGE_PAYLOADS, "media.payloads", conversation_id)
    if not message.payloads:
        raise WireError(Fault(Reason.PAYLOAD_INVALID, "media without payloads", "media.payloads"), conversation_id)
    return m.Media(conversation_id, tuple([payload_from_wire(payload, conversation_id) for payload in message.payloads]))


def audio_format_from_wire(message: pb.AudioFormat, conversation_id: str) -> AudioFormat:
    """Check and read an audio format."""
    field = "open.audio_format"
    codec = known(CODEC_FROM_WIRE, message.codec, f"{field}.codec", Reason.AUDIO_FORMAT_UNSUPPORTED, conversation_id)
    rates_hz = codec.traits.rates_hz
    rate_hz = message.sample_rate_hz or (rates_hz[0] if len(rates_hz) == 1 else 0)
    try:
        return AudioFormat(codec, rate_hz, message.channels or 1)
    except FieldError as error:
        raise WireError(Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, str(error), f"{field}.{error.field}"), conversation_id) from None


def motion_format_from_wire(message: pb.MotionFormat, conversation_id: str) -> MotionFormat:
    """Check and read a motion format."""
    field = "open.motion_format"
    check_count(message.blendshape_names, MAX_BLENDSHAPE_NAMES, f"{field}.blendshape_names", conversation_id)
    encoding = known(ENCODING_FROM_WIRE, message.encoding, f"{field}.encoding", Reason.MOTION_FORMAT_UNSUPPORTED, conversation_id)
    name_set = known(NAME_SET_FROM_WIRE, message.name_set, f"{field}.name_set", Reason.MOTION_FORMAT_UNSUPPORTED, conversation_id)
    unit = known(ANGLE_UNIT_FROM_WIRE, message.angle_unit, f"{field}.angle_unit", Reason.MOTION_FORMAT_UNSUPPORTED, conversation_id)
    names, scale = tuple(message.blendshape_names), message.weight_scale or 1.0
    try:
        return MotionFormat(encoding, message.keyframes_per_second, names, name_set, scale, unit)
    except FieldError as error:
        raise WireError(Fault(Reason.MOTION_FORMAT_UNSUPPORTED, str(error), f"{field}.{error.field}"), conversation_id) from None


def open_to_wire(open_: ConversationOpen) -> pb.ConversationOpen:
    """Encode the opening of a conversation."""
    message = pb.ConversationOpen(
        conversation_id=open_.conversation_id,
        audio_format=pb.AudioFormat(
            codec=CODEC_TO_WIRE[open_.audio_format.codec],
            sample_rate_hz=open_.audio_format.sample_rate_hz,
            channels=open_.audio_format.channels,
        ),
        pacing=PACING_TO_WIRE[open_.pacing],
        on_playing=ON_PLAYING_TO_WIRE[open_.on_playing],
    )
    if open_.motion_format is not None:
        motion = open_.motion_format
        message.motion_format.encoding = ENCODING_TO_WIRE[motion.encoding]
        message.motion_format.keyframes_per_second = motion.keyframes_per_second
        message.motion_format.blendshape_names.extend(motion.blendshape_names)
        if motion.name_set is not None:
            message.motion_format.name_set = NAME_SET_TO_WIRE[motion.name_set]
        if motion.weight_scale != 1.0:
            message.motion_format.weight_scale = motion.weight_scale
        if motion.angle_unit is not AngleUnit.RADIANS:
            message.motion_format.angle_unit = ANGLE_UNIT_TO_WIRE[motion.angle_unit]
    if open_.expression != AS_MOTION_SAYS:
        message.expression.CopyFrom(expression_to_wire(open_.expression))
    if open_.trace_context.traceparent:
        message.trace_context.traceparent = open_.trace_context.traceparent
        message.trace_context.tracestate = open_.trace_context.tracestate
    return message


def open_from_wire(message: pb.ConversationOpen, *, id_required: bool = True) -> ConversationOpen:
    """Check and read the opening of a conversation; the id may be missing only if the relay assigns one."""
    conversation_id = message.conversation_id
    if (conversation_id or id_required) and not is_valid_id(conversation_id):
        fault = Fault(Reason.CONVERSATION_ID_INVALID, f"conversation_id must be {ID_RULE}", "open.conversation_id")
        raise WireError(fault, conversation_id[:64])
    trace = message.trace_context
    kept = len(trace.traceparent) <= MAX_TRACEPARENT_CHARACTERS and len(trace.tracestate) <= MAX_TRACESTATE_CHARACTERS
    has_motion = message.HasField("motion_format") and message.motion_format.encoding != pb.MotionFormat.ENCODING_UNSPECIFIED
    return ConversationOpen(
        conversation_id=conversation_id,
        audio_format=audio_format_from_wire(message.audio_format, conversation_id),
        motion_format=motion_format_from_wire(message.motion_format, conversation_id) if has_motion else None,
        pacing=known(PACING_FROM_WIRE, message.pacing, "open.pacing", Reason.MESSAGE_INVALID, conversation_id),
        on_playing=known(ON_PLAYING_FROM_WIRE, message.on_playing, "open.on_playing", Reason.MESSAGE_INVALID, conversation_id),
        trace_context=TraceContext(trace.traceparent, trace.tracestate) if kept else TraceContext(),
        expression=expression_from_wire(message, "open.expression", conversation_id),
    )


def expression_to_wire(expression: Expression) -> pb.Expression:
    """Encode an expression."""
    return pb.Expression(preset=PRESET_TO_WIRE[expression.preset], intensity=expression.intensity)


def expression_from_wire(holder: Any, field: str, conversation_id: str | None = None) -> Expression:
    """The expression of a message; an unknown preset is neutral. Raises `WireError` for an invalid intensity."""
    if not holder.HasField("expression"):
        return AS_MOTION_SAYS
    message = holder.expression
    try:
        return Expression(PRESET_FROM_WIRE.get(message.preset, ExpressionPreset.NEUTRAL), message.intensity)
    except FieldError as error:
        raise WireError(Fault(Reason.MESSAGE_INVALID, f"{field}.{error}", f"{field}.{error.field}"), conversation_id) from None
