"""One relay of a cluster in a seeded schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

from avatar_relay import wire
from relay_server.cluster.cluster import Cluster
from relay_server.cluster.door import DoorPort
from relay_server.cluster.names import ClusterNames
from relay_server.connections.clocks import Clocks
from relay_server.connections.devices import DevicePort
from relay_server.connections.relay import STREAMS_END_US, Relay
from tests.lab.memory_backplane import MemoryBus
from tests.lab.memory_links import MemoryLinks
from tests.races.legs import Leg
from tests.races.schedule import NO_TIMEOUTS


class Node:
    """A relay, from one start to its end."""

    def __init__(
        self, name: str, bus: MemoryBus, clock: Callable[[], int], numbers: Iterator[int], tunnel_version: int, *, has_links: bool
    ) -> None:
        """`numbers`: never twice the same; they stand for random bytes."""
        self.name = name
        self.alive = True
        self.drains = False
        """No client connects to it any more."""
        self.legs: set[Leg] = set()
        self.relay = Relay(
            NO_TIMEOUTS,
            Clocks(clock, clock),
            random_bytes=lambda count: next(numbers).to_bytes(count, "big"),
            encode=wire.encode_payload,
            publisher_token=lambda key: f"token-of-{key}",
        )
        self._backplane = bus.node(name)
        self._cluster = Cluster(
            self.relay,
            self._backplane,
            ClusterNames("races", name),
            links=MemoryLinks(bus, name, usable=has_links),
            now_us=clock,
            random_bytes=lambda count: next(numbers).to_bytes(count, "big"),
            tunnel_version=tunnel_version,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the relay; it serves once this returns."""
        await self._cluster.start()
        self._tasks = [asyncio.create_task(self._cluster.run()), asyncio.create_task(self.relay.run())]
        await self._cluster.settle()

    async def kill(self) -> None:
        """Kill the relay, without a last message."""
        self.alive = False
        for task in self._tasks:
            task.cancel()
        await self._backplane.stop()
        for leg in self.legs:
            leg.cut()
            leg.relay_noticed = True
        await self._cluster.leave()  # disconnected, it sends nothing; no task of its tunnels remains

    async def drain(self, grace_us: int) -> None:
        """End the relay as `RelayServer.drain` does."""
        self.drains = True
        elsewhere = await self._cluster.addresses_elsewhere()
        await self.relay.drain(grace_us, hand_over=True, elsewhere=elsewhere)
        with suppress(TimeoutError):
            async with asyncio.timeout(STREAMS_END_US / 1e6):
                while self.legs:  # noqa: ASYNC110 - as gRPC's servers stop when all streams have ended
                    await asyncio.sleep(0.001)
        await self._cluster.leave()
        await self.kill()

    def connect_publisher(self) -> DoorPort:
        """Open a publisher's stream."""
        return self._cluster.connect_door("")

    def connect_device(self) -> DevicePort:
        """Open a device's stream."""
        return self.relay.connect_device()
