"""PublisherService of a relay in a cluster: each stream has a door."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from relay_server.access.caller import Caller, current_caller
from relay_server.cluster.cluster import Cluster
from relay_server.cluster.door import DoorPort
from relay_server.connections.relay import Relay
from relay_server.rpc_errors import Context
from relay_server.service.publisher import LEG, PublisherService, admitted, encode, requests_in
from relay_server.service.streams import carry


class DoorService(PublisherService):
    """Accepts conversations from backends, for devices of any relay of the cluster."""

    def __init__(self, relay: Relay, cluster: Cluster) -> None:
        super().__init__(relay)
        self._cluster = cluster

    async def publish(self, context: Context) -> None:
        """See `PublisherService`."""
        relay, caller = self._relay, current_caller()
        port = self._cluster.connect_door(caller.key)
        try:
            await carry(
                context,
                port,
                self._watch,
                take=partial(take, relay, port, caller),
                encode=encode,
                said_all=port.finish_sending,
                failed=partial(relay.stream_failed, LEG),
            )
        finally:
            port.close_passages()


def take(relay: Relay, port: DoorPort, caller: Caller, data: bytes) -> Awaitable[None] | None:
    """Handle a publisher's message. Raises `PeerError` if it ends the stream."""
    return port.flush() if port.take_media(data) else _take_requests(relay, port, caller, data)


async def _take_requests(relay: Relay, port: DoorPort, caller: Caller, data: bytes) -> None:
    for request, its_data in requests_in(data):
        if (message := admitted(relay, port.local, caller, request, its_data)) is not None:
            await port.send(message, its_data)
    if (waiting := port.flush()) is not None:
        await waiting
