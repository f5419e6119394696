"""PublisherService: a backend's stream, spoken by our library or typed by hand."""

from __future__ import annotations

from typing import Any

from avatar_relay import wire
from avatar_relay.reasons import Fault
from avatar_relay.v1 import publisher_service_pb2 as pb
from relay_server.errors import PeerError
from relay_server.relay import Relay
from relay_server.service.calls import bidirectional, parse, service
from relay_server.service.errors import Context
from relay_server.service.streams import carry

NAME = pb.DESCRIPTOR.services_by_name["PublisherService"].full_name
LEG = "publisher"


class PublisherService:
    """Takes conversations from backends."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def handler(self) -> Any:
        """For `add_generic_rpc_handlers`."""
        return service(NAME, {"Publish": bidirectional(self.publish)})

    async def publish(self, context: Context) -> None:
        """`Publish`: carries one publisher's stream. A fault of one conversation is answered in it."""
        port = self._relay.connect_publisher()

        async def take(data: bytes) -> None:
            request = parse(pb.PublishRequest, data)
            try:
                message = wire.publish_request_from_wire(request)
            except wire.WireError as error:
                if error.conversation_id is None:
                    raise PeerError(error.fault) from error
                self._relay.message_faulty(port, error.conversation_id, error.fault, opens=request.HasField("open"))
                return
            if message is None:
                self._relay.message_unknown(LEG)
            else:
                await port.send(message)

        async def following() -> bytes | None:
            message = await port.receive()
            return None if message is None else wire.publish_response_to_wire(message).SerializeToString()

        def failed(fault: Fault) -> None:
            self._relay.stream_failed(LEG, fault)

        await carry(context, port, take=take, following=following, said_all=port.finish_sending, failed=failed)
