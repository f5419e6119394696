"""Reads the usual messages of live traffic without protobuf: media with few payloads or fragments, alone or joined with others.

protobuf makes an object for each message within a message, and a copy of each payload to tell its size; a relay forwards the bytes that it
received, and needs neither. Input may be any bytes; what is unusual is left to protobuf, whether it is valid or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_ID_CHARACTERS, MAX_JOINED_REQUESTS, MAX_PAYLOAD_BYTES
from avatar_relay.media import EncodedMedia, Kind, PayloadColumns
from avatar_relay.messages import Media, PublishedMedia
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.entries import UNCOUNTED_BYTES
from avatar_relay.wire.media import media_from_wire, unpack
from avatar_relay.wire.raw import delimited, header, length, tag
from avatar_relay.wire.values import KIND_FROM_WIRE

_MEDIA, _JOINED = tag(publisher_pb.PublishRequest.MEDIA_FIELD_NUMBER), tag(publisher_pb.PublishRequest.JOINED_FIELD_NUMBER)
_REQUESTS = tag(publisher_pb.JoinedRequests.REQUESTS_FIELD_NUMBER)
_CONVERSATION_ID, _PAYLOADS = tag(pb.Media.CONVERSATION_ID_FIELD_NUMBER), tag(pb.Media.PAYLOADS_FIELD_NUMBER)
_DATA = tag(pb.Payload.DATA_FIELD_NUMBER)
_NUMBERS = frozenset(field.number << 3 for field in pb.Payload.DESCRIPTOR.fields if field.name != "data")
"""Tags of the fields of a payload that are numbers."""
_UNSET = [0, 0, 0, -1, 0, 0, 0, 0]
"""Values of a payload's fields by number, if it does not have them; `pts_us` has no default."""
_MAX_SHIFT = 49
"""Numbers of more than eight bytes are left to protobuf."""
_MIN_BYTES, _MAX_BYTES = 8, 64 << 10
_FEW, _MANY = 4, 16
"""More than `_FEW` payloads are left to protobuf, which is quicker then; at once if there is room for `_MANY` like the first."""
_ONE = {kind: {kind: 1} for kind in Kind}
_ZERO = (0,)
_new = tuple.__new__
"""Makes a named tuple; its own constructor is a Python function."""


def live_media_in(data: bytes) -> PublishedMedia | None:
    """Read a `PublishRequest` of usual media; None if protobuf must read it.

    The result is what `publish_request_from_wire` returns for the same bytes.
    """
    end = len(data)
    if not _MIN_BYTES < end <= _MAX_BYTES or data[0] != _MEDIA:
        return None
    try:
        size, at = data[1], 2  # lengths are read inline: a call for each would cost more than the rest
        if size > 0x7F:
            size, at = size & 0x7F | data[2] << 7, 3
            if size > 0x3FFF:
                size, at = size & 0x3FFF | data[3] << 14, 4
        id_size = data[at + 1]
        if at + size != end or data[at] != _CONVERSATION_ID or not 0 < id_size <= MAX_ID_CHARACTERS:
            return None
        conversation_id = data[at + 2 : (at := at + 2 + id_size)].decode()
        rows: list[list[int]] = []
        while at < end:
            mark, size = data[at], data[at + 1]
            at += 2
            if size > 0x7F:
                size, at = size & 0x7F | data[at] << 7, at + 1
                if size > 0x3FFF:
                    size, at = size & 0x3FFF | data[at] << 14, at + 1
            stop = at + size
            if mark != _PAYLOADS or stop > end or len(rows) == _FEW or (end - at > _MANY * size and not rows):
                return None
            values, field = _UNSET[:], 0
            while at < stop:
                mark, value = data[at], data[at + 1]
                at += 2
                if value > 0x7F:
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
            if at != stop or values[3] < 0 or not 0 < (size := values[5]) <= MAX_FRAGMENT_BYTES:
                return None
            if (total := values[7] or values[6]) and (values[6] + size > total or size == total or total > MAX_PAYLOAD_BYTES):
                return None
            rows.append(values)
    except (IndexError, UnicodeDecodeError):
        return None
    return _published(data, conversation_id, rows) if rows else None


def joined_live_media_in(data: bytes) -> list[PublishedMedia] | None:
    """Read a `PublishRequest` of joined requests that are all usual media; None if it is anything else."""
    if not data or data[0] != _JOINED or len(data) > UNCOUNTED_BYTES:
        return None
    found: list[PublishedMedia] = []
    for part in joined_data_in(data):
        if (media := live_media_in(part)) is None:
            return None
        found.append(media)
    return found or None


def _published(data: bytes, conversation_id: str, rows: list[list[int]]) -> PublishedMedia | None:
    if len(rows) == 1:
        _, number, seq, pts_us, duration_us, size, offset, total = rows[0]
        kind = KIND_FROM_WIRE.get(number)
        if kind is None:
            return None
        single = (kind, (seq,), (pts_us,), (duration_us,), (size,), (offset,) if offset else _ZERO, (total,) if total else _ZERO)
        encoded = _new(EncodedMedia, (data, _ONE[kind], unpack, []))
        return _new(PublishedMedia, (conversation_id, (_new(PayloadColumns, single),), partial(_one_by_one, data), encoded))
    by_number: dict[int, list[list[int]]] = {}
    for row in rows:
        by_number.setdefault(row[1], []).append(row)
    both = list[PayloadColumns]()
    for number in sorted(by_number):
        kind = KIND_FROM_WIRE.get(number)
        if kind is None:
            return None
        _, _, *values = zip(*by_number[number], strict=True)
        both.append(PayloadColumns(kind, *values))
    counts = {columns.kind: len(columns.seqs) for columns in both}
    return PublishedMedia(conversation_id, tuple(both), partial(_one_by_one, data), EncodedMedia(data, counts, unpack, []))


def joined_data_in(data: bytes) -> list[bytes]:
    """The bytes of each request joined in a `PublishRequest`; empty if protobuf must read it: there are none, or too many."""
    found: list[bytes] = []
    if not data or data[0] != _JOINED:
        return found
    try:
        size, at = length(data, 1)
        if at + size != len(data):
            return []
        while at < len(data):
            if data[at] != _REQUESTS:
                return []
            size, at = length(data, at + 1)
            found.append(data[at : at + size])
            at += size
    except IndexError:
        return []
    return found if at == len(data) and len(found) <= MAX_JOINED_REQUESTS else []


def join_requests(requests: Sequence[bytes]) -> bytes:
    """Join encoded requests into the bytes of `PublishRequest{joined}`."""
    joined = [piece for data in requests for piece in (header(publisher_pb.JoinedRequests.REQUESTS_FIELD_NUMBER, len(data)), data)]
    return delimited(publisher_pb.PublishRequest.JOINED_FIELD_NUMBER, b"".join(joined))


def _one_by_one(data: bytes) -> Media:
    return media_from_wire(publisher_pb.PublishRequest.FromString(data).media)
