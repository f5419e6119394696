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
from avatar_relay.wire.raw import header, tag
from avatar_relay.wire.values import KIND_FROM_WIRE

_MEDIA_FIELD, _PAYLOADS_FIELD = publisher_pb.PublishRequest.MEDIA_FIELD_NUMBER, pb.Media.PAYLOADS_FIELD_NUMBER
_MEDIA, _CONVERSATION_ID, _DATA = tag(_MEDIA_FIELD), tag(pb.Media.CONVERSATION_ID_FIELD_NUMBER), tag(pb.Payload.DATA_FIELD_NUMBER)
_SHORT, _LONG = 0x7F, 0x3FFF
"""The largest lengths that take one and two bytes."""
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
_MIN_BYTES, _MAX_BYTES = 8, MAX_FRAGMENT_BYTES + 256
"""A message with one payload is longer, and at most this long unless its encoding is unusual."""
_ZERO = (0,)
_new = tuple.__new__
"""Makes a named tuple; its own constructor is a Python function."""
_ONE = {kind: {kind: 1} for kind in Kind}


def single_payload_in(data: bytes) -> PublishedMedia | None:
    """Read a `PublishRequest`, which may be any bytes, if it is media with one whole payload; None if protobuf must read it.

    The result is what `publish_request_from_wire` returns for the same bytes.
    """
    end = len(data)
    if not _MIN_BYTES < end <= _MAX_BYTES or data[0] != _MEDIA:
        return None
    try:
        at = 2 if end <= _SHORT + 2 else 3 if end <= _LONG + 3 else 4
        start = header(_MEDIA_FIELD, end - at)
        if len(start) != at or not data.startswith(start) or data[at] != _CONVERSATION_ID:
            return None
        size = data[at + 1]
        conversation_id = data[at + 2 : (at := at + 2 + size)].decode()
        left = end - at
        left -= 2 if left <= _SHORT + 2 else 3 if left <= _LONG + 3 else 4
        start = header(_PAYLOADS_FIELD, left) if left > 0 else b""
        if not 0 < size <= MAX_ID_CHARACTERS or len(start) + left != end - at or not data.startswith(start, at):
            return None
        at = end - left
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
    columns = _new(PayloadColumns, (kind, (seq,), (pts_us,), (duration_us,), (size,), _ZERO, _ZERO))
    encoded = EncodedMedia(data, _ONE[kind], unpack)
    return _new(PublishedMedia, (conversation_id, (columns,), partial(_one_by_one, data), encoded))


def _one_by_one(data: bytes) -> Media:
    return media_from_wire(publisher_pb.PublishRequest.FromString(data).media)
