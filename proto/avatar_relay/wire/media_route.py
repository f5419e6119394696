"""Reads to which conversations media belongs, and nothing else: for relays that forward it to another one, which reads all of it."""

from __future__ import annotations

from avatar_relay.limits import MAX_ID_CHARACTERS
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.wire.entries import UNCOUNTED_BYTES
from avatar_relay.wire.live_media import joined_data_in
from avatar_relay.wire.raw import length, tag

_MEDIA = tag(publisher_pb.PublishRequest.MEDIA_FIELD_NUMBER)
_CONVERSATION_ID = tag(pb.Media.CONVERSATION_ID_FIELD_NUMBER)
_MIN_BYTES, _MAX_BYTES = 8, 64 << 10


def media_in(data: bytes) -> list[tuple[str, bytes]]:
    """The conversations and bytes of a `PublishRequest` that is media alone, or of those joined in it; empty if there is anything else."""
    if conversation_id := conversation_of_media(data):
        return [(conversation_id, data)]
    found = list[tuple[str, bytes]]()
    if len(data) <= UNCOUNTED_BYTES:
        for part in joined_data_in(data):
            if not (conversation_id := conversation_of_media(part)):
                return []
            found.append((conversation_id, part))
    return found


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
