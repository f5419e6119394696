"""Reads the usual message of live traffic without protobuf: media with one whole payload, in the usual encoding.

protobuf makes an object for each message within a message, and a copy of the payload to tell its size; a relay forwards the bytes that it
received, and needs neither.
"""

from __future__ import annotations

from functools import partial

from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_ID_CHARACTERS
from avatar_relay.media import EncodedMedia, Kind, PayloadColumns
from avatar_relay.messages import Media, PublishedMedia
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.media import media_from_wire, unpack
from avatar_relay.wire.raw import tag
from avatar_relay.wire.values import KIND_FROM_WIRE

_MEDIA = tag(publisher_pb.PublishRequest.MEDIA_FIELD_NUMBER)
_CONVERSATION_ID, _PAYLOADS = tag(pb.Media.CONVERSATION_ID_FIELD_NUMBER), tag(pb.Media.PAYLOADS_FIELD_NUMBER)
_DATA = tag(pb.Payload.DATA_FIELD_NUMBER)
_NUMBERS = frozenset(
    number << 3
    for number in (
        pb.Payload.KIND_FIELD_NUMBER,
        pb.Payload.SEQ_FIELD_NUMBER,
        pb.Payload.PTS_US_FIELD_NUMBER,
        pb.Payload.DURATION_US_FIELD_NUMBER,
    )
)
"""Tags of the fields of a whole payload that are numbers."""
_UNSET = [0, 0, 0, -1, 0, 0]
"""Values of a payload's fields by number, if it does not have them; `pts_us` has no default."""
_MAX_SHIFT = 49
"""Numbers of more than eight bytes are left to protobuf."""
_MAX_BYTES = MAX_FRAGMENT_BYTES + 256
"""A message with one payload is at most this long, unless its encoding is unusual."""
_ONE = {kind: {kind: 1} for kind in Kind}


def single_payload_in(data: bytes) -> PublishedMedia | None:
    """Read a `PublishRequest`, which may be any bytes, if it is media with one whole payload; None if protobuf must read it.

    The result is what `publish_request_from_wire` returns for the same bytes.
    """
    end = len(data)
    try:
        if data[0] != _MEDIA or end > _MAX_BYTES:
            return None
        size, at = _size(data, 1)
        if at + size != end or data[at] != _CONVERSATION_ID or not 0 < (size := data[at + 1]) <= MAX_ID_CHARACTERS:
            return None
        id_at = at + 2
        at = id_at + size
        if data[at] != _PAYLOADS:
            return None
        size, at = _size(data, at + 1)
        if at + size != end:
            return None
        conversation_id = data[id_at : id_at + data[id_at - 1]].decode()
        values, field = _UNSET[:], 0
        while at < end:
            mark, value = data[at], data[at + 1]
            at += 2
            if value > 0x7F:  # no call of a function for each field
                value &= 0x7F
                shift = 7
                while (byte := data[at]) > 0x7F:
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    at += 1
                    if shift > _MAX_SHIFT:
                        return None
                value |= byte << shift
                at += 1
            if mark == _DATA:
                at += value
            elif mark not in _NUMBERS:
                return None
            if mark >> 3 <= field:
                return None
            field = mark >> 3
            values[field] = value
    except (IndexError, UnicodeDecodeError):
        return None
    _, number, seq, pts_us, duration_us, size = values
    kind = KIND_FROM_WIRE.get(number)
    if at != end or kind is None or pts_us < 0 or not 0 < size <= MAX_FRAGMENT_BYTES:
        return None
    columns = PayloadColumns(kind, (seq,), (pts_us,), (duration_us,), (size,), (0,), (0,))
    return PublishedMedia(conversation_id, (columns,), partial(_one_by_one, data), EncodedMedia(data, _ONE[kind], unpack))


def _size(data: bytes, at: int) -> tuple[int, int]:
    """The length at `at`, and the position after it; a length of more than three bytes reads as one beyond `_MAX_BYTES`."""
    first, second = data[at], data[at + 1]
    if first < 0x80:
        return first, at + 1
    if second < 0x80:
        return first & 0x7F | second << 7, at + 2
    return first & 0x7F | (second & 0x7F) << 7 | data[at + 2] << 14, at + 3


def _one_by_one(data: bytes) -> Media:
    return media_from_wire(publisher_pb.PublishRequest.FromString(data).media)
