"""Reads a publisher's message at its door or at a home."""

from __future__ import annotations

from collections.abc import Sequence

from avatar_relay import wire
from avatar_relay.messages import AtRelay, PublishedMedia
from avatar_relay.v1 import publisher_service_pb2 as pb
from relay_server.access.caller import Caller
from relay_server.connections.publishers import PublisherPort
from relay_server.connections.relay import Relay
from relay_server.service.publisher import allowed, requests_in


def live_media_of(data: bytes) -> Sequence[PublishedMedia] | None:
    """The media of a publisher's message that is usual media, alone or joined; None if there is anything else."""
    media = wire.live_media_in(data)
    return wire.joined_live_media_in(data) if media is None else (media,)


def requests_of(data: bytes) -> Sequence[tuple[pb.PublishRequest | PublishedMedia, bytes]]:
    """The requests in a publisher's message, each with its own bytes; usual media is read already. Raises `FaultError` if it ends the
    stream."""
    media = wire.live_media_in(data)
    return requests_in(data) if media is None else ((media, data),)


def admitted(relay: Relay, port: PublisherPort, caller: Caller, request: pb.PublishRequest | PublishedMedia, data: bytes) -> AtRelay | None:
    """The message in a request, if its caller is permitted to send it; None if it was refused in-band, or is unknown.

    Raises `FaultError` if it ends the stream.
    """
    if isinstance(request, PublishedMedia):
        return request
    try:
        message = wire.publish_request_from_wire(request, data)
    except wire.WireError as error:
        if error.conversation_id is None:
            raise
        relay.publishers.faulty(port, error.conversation_id, error.fault, opens=request.HasField("open"))
        return None
    return message if isinstance(message, PublishedMedia) else allowed(relay, port, caller, message)
