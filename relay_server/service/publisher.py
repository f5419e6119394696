"""PublisherService: the streams of backends, from the publisher library or grpcurl."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from avatar_relay import wire
from avatar_relay.limits import MAX_MESSAGE_BYTES
from avatar_relay.media import TraceContext
from avatar_relay.messages import AtRelay, DeviceVolume, PublishedMedia, PublishOpen, ToPublisher
from avatar_relay.v1 import publisher_service_pb2 as pb
from relay_server.access.caller import Caller, current_caller
from relay_server.connections.publishers import PublisherPort
from relay_server.connections.relay import Relay
from relay_server.core.events import MessageUnknown
from relay_server.rpc_errors import Context
from relay_server.service.calls import bidirectional, check_size, parse, service
from relay_server.service.streams import carry
from relay_server.service.write_watch import WriteWatch

NAME = pb.DESCRIPTOR.services_by_name["PublisherService"].full_name
LEG = "publisher"


class PublisherService:
    """Connects publishers to the relay."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._watch = WriteWatch()

    def handler(self) -> Any:
        """For `add_generic_rpc_handlers`."""
        return service(NAME, {"Publish": bidirectional(self.publish)})

    async def publish(self, context: Context) -> None:
        """`Publish`: carries one publisher's stream. Faults of a conversation are reported in-band."""
        relay, caller = self._relay, current_caller()
        port = relay.connect_publisher(caller.key)

        def take(data: bytes) -> Awaitable[None] | None:
            if (media := wire.live_media_in(data)) is not None:
                return port.send_media((media,))
            several = wire.joined_live_media_in(data)
            return take_requests(data) if several is None else port.send_media(several)

        async def take_requests(data: bytes) -> None:
            for request, its_data in requests_in(data):
                if (message := admitted(relay, port, caller, request, its_data)) is not None:
                    await port.send(message)

        failed = partial(self._relay.stream_failed, LEG)
        await carry(context, port, self._watch, take=take, encode=encode, said_all=port.finish_sending, failed=failed)


def requests_in(data: bytes) -> Sequence[tuple[pb.PublishRequest | PublishedMedia, bytes]]:
    """The requests of a publisher's message, each with its bytes; usual media is read already. Raises `FaultError`."""
    if (media := wire.live_media_in(data)) is not None:
        return ((media, data),)
    check_size(data, MAX_MESSAGE_BYTES)
    if len(data) > wire.UNCOUNTED_BYTES:
        wire.check_entries(data)
    if joined := wire.joined_data_in(data):
        return [(wire.live_media_in(part) or parse(pb.PublishRequest, part, MAX_MESSAGE_BYTES), part) for part in joined]
    whole = parse(pb.PublishRequest, data, MAX_MESSAGE_BYTES)
    return wire.requests_in(whole, data)


def live_media_of(data: bytes) -> Sequence[PublishedMedia] | None:
    """The media of a publisher's message that is usual media, alone or joined; None if there is anything else."""
    media = wire.live_media_in(data)
    return wire.joined_live_media_in(data) if media is None else (media,)


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


def allowed(relay: Relay, port: PublisherPort, caller: Caller, message: AtRelay | None) -> AtRelay | None:
    """Check a message other than media against the caller's permissions; None if it was refused in-band, or is unknown."""
    match message:
        case None:
            relay.observer.notice(MessageUnknown(LEG))
        case PublishOpen():
            if (refusal := caller.target_refusal(message.targets, "targets")) is not None:
                relay.publishers.faulty(port, message.open.conversation_id, refusal, opens=True)
                return None
            return message if caller.trusted_sampling else without_trace(message)
        case DeviceVolume():
            if (refusal := caller.target_refusal((message.device_id,), "volume.device_id")) is not None:
                relay.publishers.refuse(port, refusal, message.device_id[:64])
                return None
    return message


def encode(message: ToPublisher) -> bytes:
    """Encode a message."""
    data: bytes = wire.publish_response_to_wire(message).SerializeToString()
    return data


def without_trace(message: PublishOpen) -> PublishOpen:
    """Drop the trace context, so that the trace begins here: an untrusted caller cannot control sampling or the trace id."""
    return replace(message, open=replace(message.open, trace_context=TraceContext()))
