"""DeviceService: the streams of devices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from avatar_relay import wire
from avatar_relay.errors import PeerError
from avatar_relay.limits import MAX_DEVICE_MESSAGE_BYTES
from avatar_relay.messages import Hello, UnknownEvent
from avatar_relay.v1 import device_service_pb2 as pb
from relay_server.access.caller import current_caller
from relay_server.connections.relay import Relay
from relay_server.core.device_outbox import JoinedMessages, MediaMessage, Outgoing
from relay_server.core.events import MessageUnknown
from relay_server.core.payload_batch import whole_sources
from relay_server.rpc_errors import Context
from relay_server.service.calls import bidirectional, parse, service
from relay_server.service.streams import carry
from relay_server.service.write_watch import WriteWatch

NAME = pb.DESCRIPTOR.services_by_name["DeviceService"].full_name
LEG = "device"
GREETED_AFTER_S = 0.002
"""Delay of `welcome`, so that a stream cancelled at once does not replace the current one, and nothing is written to it: grpc.aio
never frees a failed write."""


class DeviceService:
    """Connects devices to the relay."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._watch = WriteWatch()

    def handler(self) -> Any:
        """For `add_generic_rpc_handlers`."""
        return service(NAME, {"Attach": bidirectional(self.attach)})

    async def attach(self, context: Context) -> None:
        """`Attach`: carries one device's stream."""
        port, caller = self._relay.connect_device(), current_caller()

        def take(data: bytes) -> Awaitable[None] | None:
            requests = wire.attach_requests_in(parse(pb.AttachRequest, data, MAX_DEVICE_MESSAGE_BYTES))
            if port.session is None:
                return greet(requests)
            handle(requests)
            return None

        async def greet(requests: Sequence[pb.AttachRequest]) -> None:
            await asyncio.sleep(GREETED_AFTER_S)
            handle(requests)

        def handle(requests: Sequence[pb.AttachRequest]) -> None:
            for request in requests:
                message = wire.attach_request_from_wire(request)
                if isinstance(message, Hello) and (refusal := caller.attach_refusal(message.device_id)) is not None:
                    raise PeerError(refusal)
                if message is None or isinstance(message, UnknownEvent):
                    self._relay.observer.notice(MessageUnknown(LEG))
                if message is not None:
                    port.take(message, alone=len(requests) == 1)

        failed = partial(self._relay.stream_failed, LEG)
        await carry(context, port, self._watch, take=take, encode=encode, said_all=port.end, failed=failed)


def encode(message: Outgoing | JoinedMessages) -> bytes:
    """Encode a message; its payloads are already encoded."""
    if isinstance(message, MediaMessage):
        conversation_id, batches = message
        batch = batches[0]
        if (
            (source := batch.source) is not None
            and len(batches) == len(source.counts) == 1
            and len(batch.seqs) == source.counts[batch.kind]
        ):
            return source.data
        if (sources := whole_sources(batches)) is not None:
            return sources[0].data if len(sources) == 1 else wire.join_media_responses(sources)
        return wire.splice_media_response(conversation_id, chain.from_iterable([batch.entries for batch in batches]))
    if isinstance(message, JoinedMessages):
        return wire.join_attach_responses(map(encode, message.messages))
    data: bytes = wire.attach_response_to_wire(message).SerializeToString()
    return data
