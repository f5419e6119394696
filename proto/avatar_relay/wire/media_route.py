"""Reads to which conversation media belongs, and nothing else: for relays that forward it to another one, which reads all of it."""

from __future__ import annotations

from avatar_relay.limits import MAX_ID_CHARACTERS
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.raw import length, tag

_MEDIA = tag(publisher_pb.PublishRequest.MEDIA_FIELD_NUMBER)
_CONVERSATION_ID = tag(pb.Media.CONVERSATION_ID_FIELD_NUMBER)
_MIN_BYTES, _MAX_BYTES = 8, 64 << 10


def conversation_of_media(data: bytes) -> str:
    """The conversation of a `PublishRequest` that is media alone; empty if protobuf must read it. Input may be any bytes."""
    if not _MIN_BYTES < len(data) <= _MAX_BYTES or data[0] != _MEDIA:
        return ""
    try:
        size, at = length(data, 1)
        if at + size != len(data) or data[at] != _CONVERSATION_ID or not 0 < (id_size := data[at + 1]) <= MAX_ID_CHARACTERS:
            return ""
        return data[at + 2 : at + 2 + id_size].decode()
    except (IndexError, UnicodeDecodeError):
        return ""
