"""`WatchEvents` in a cluster: the relay whose caller watches has the other relays send it their events.

Each event is a request that the watching relay answers once it has passed the event on. A slow or lost relay delays only its own watch at
the other relay; that watch is bounded like any other, and ends if there is no answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from google.protobuf.message import DecodeError, Message

from avatar_relay.errors import FaultError
from avatar_relay.v1 import admin_service_pb2 as pb
from relay_server.access.caller import EVERYBODY, Caller, current_caller, set_caller
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage, Subscription
from relay_server.cluster.cluster import Cluster
from relay_server.service.admin import WATCH_HEARTBEAT_S, AdminService

logger = logging.getLogger(__name__)

METHOD = b"WatchEvents"
SILENT_S = 3 * WATCH_HEARTBEAT_S
"""A relay that sent nothing for so long, not even a heartbeat, is asked again."""
LOOK_S = 0.5
ANSWER_S = 2.0
Tell = Callable[[Message], Awaitable[None]]


class OtherRelays:
    """The remote part of one watch, at the relay of its caller. `run` must run beside the local watch."""

    def __init__(self, cluster: Cluster, request: pb.WatchEventsRequest, tell: Tell) -> None:
        self._cluster = cluster
        self._request = pb.WatchEventsRequest(device_ids=request.device_ids, heartbeat=True)
        self._tell = tell
        self._caller: Caller = current_caller()
        self._heard_s: dict[str, float] = {}
        self._inboxes: dict[str, Subscription] = {}

    async def run(self) -> None:
        """Ask the present relays, and those that appear, until cancelled."""
        now_s = asyncio.get_running_loop().time
        try:
            while True:
                for relay in self._cluster.members():
                    if now_s() - self._heard_s.get(relay, -SILENT_S) >= SILENT_S:
                        self._heard_s[relay] = now_s()
                        with suppress(BackplaneError):  # it is asked again later
                            await self._ask(relay)
                await asyncio.sleep(LOOK_S)
        finally:
            for inbox in self._inboxes.values():
                await inbox.end()

    async def _ask(self, relay: str) -> None:
        cluster = self._cluster
        if (before := self._inboxes.pop(relay, None)) is not None:
            await before.end()
        subject = cluster.names.watch(cluster.random_bytes(12).hex())

        async def take(message: BackplaneMessage) -> None:
            self._heard_s[relay] = asyncio.get_running_loop().time()
            with suppress(BackplaneError, DecodeError):
                await self._take(pb.WatchEventsResponse.FromString(message.data))
                await cluster.backplane.publish(message.reply, b"")

        self._inboxes[relay] = await cluster.backplane.subscribe(subject, take)
        data = b"\n".join((METHOD, subject.encode(), self._caller.key.encode(), self._request.SerializeToString()))
        await cluster.backplane.publish(cluster.names.admin(relay), data)

    async def _take(self, event: pb.WatchEventsResponse) -> None:
        if event.WhichOneof("event") is not None and self._caller.target_refusal((event.device_id,), "device_id") is None:
            await self._tell(event)


async def serve_watch(cluster: Cluster, own: AdminService, data: bytes) -> None:
    """Send this relay's events to another relay; `data` is its request, after `METHOD`. Ends if no relay answers. Raises nothing."""
    try:
        subject, key, asked = data.split(b"\n", 2)
        request = pb.WatchEventsRequest.FromString(asked)
    except (ValueError, DecodeError):
        logger.info("another relay asks to watch in a way that is not understood")
        return
    set_caller(replace(EVERYBODY, key=key.decode(errors="replace")))

    async def write(event: Message) -> None:
        await cluster.backplane.request(subject.decode(errors="replace"), event.SerializeToString(), ANSWER_S)

    with suppress(BackplaneError, FaultError):
        await own.watch_events(request, write)
