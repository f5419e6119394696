"""Counts the entries of a large message before protobuf parses it: an empty payload is 2 bytes on the wire and 80 in memory."""

from __future__ import annotations

from contextlib import suppress

from avatar_relay.limits import MAX_MESSAGE_PAYLOADS, MAX_REQUEST_BYTES
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.raw import varint
from avatar_relay.wire.values import WireError

UNCOUNTED_BYTES = 512 << 10
"""A message up to this size cannot exhaust memory, whatever its content; larger ones are unusual."""
_MEDIA = publisher_pb.PublishRequest.MEDIA_FIELD_NUMBER
_JOINED = publisher_pb.PublishRequest.JOINED_FIELD_NUMBER
_REQUESTS = publisher_pb.JoinedRequests.REQUESTS_FIELD_NUMBER
_JOINED_RESPONSES = device_pb.AttachResponse.JOINED_FIELD_NUMBER
_INNER: dict[tuple[int, int], int] = {(0, _MEDIA): 1, (0, _JOINED): 2, (0, _JOINED_RESPONSES): 2, (2, _REQUESTS): 0}
"""Kinds of message (0 request or response, 1 media, 2 joined ones), by the kind that contains them and the field."""
_FIXED_BYTES = {1: 8, 5: 4}


def check_entries(data: bytes, most: int = MAX_MESSAGE_PAYLOADS) -> None:
    """Raise `WireError` for an oversized `PublishRequest` or `AttachResponse`.

    For data of more than `UNCOUNTED_BYTES`; raises if it holds more than `most` entries, or more than `MAX_REQUEST_BYTES`
    in a field that is not media.
    """
    with suppress(IndexError):  # truncated: protobuf reports it
        _count(data, 0, len(data), 0, 0, most)


def _count(data: bytes, at: int, end: int, kind: int, count: int, most: int) -> int:
    """Add to `count` the entries between two positions of `data`, which hold a message of this kind."""
    while at < end:
        tag, at = _varint(data, at)
        field, wire_type = tag >> 3, tag & 7
        count += 1
        if count > most:
            text = f"more than {most} entries in one message: send smaller ones"
            raise WireError(Fault(Reason.MESSAGE_TOO_LARGE, text, "media.payloads"))
        if wire_type != 2:
            at = at + _FIXED_BYTES[wire_type] if wire_type in _FIXED_BYTES else _varint(data, at)[1]
            continue
        size, at = _varint(data, at)
        inner = _INNER.get((kind, field))
        if inner is not None:
            count = _count(data, at, min(at + size, end), inner, count, most)
        elif kind == 0 and size > MAX_REQUEST_BYTES:
            text = f"{size} bytes that are not media; at most {MAX_REQUEST_BYTES} are allowed"
            raise WireError(Fault(Reason.MESSAGE_TOO_LARGE, text))
        at += size
    return count


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """`varint` for unparsed bytes: reads at most ten bytes."""
    value, used = varint(data[at : at + 10], 0)
    return value, at + used
