"""Three relays in one process with real gRPC between them and their clients, and a backplane with injectable faults."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from avatar_relay import wire
from avatar_relay.publisher import Publisher
from avatar_relay.publisher.grpc_link import GrpcConnector
from avatar_relay.reasons import Fault, Reason
from avatar_relay.relay_list import RelayList
from relay_server.cluster.cluster import Cluster
from relay_server.cluster.frames import TUNNEL_VERSION
from relay_server.cluster.names import ClusterNames
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.server import boot_time_us, serving, unix_time_us
from tests.avatar_relay.publisher.test_with_relay import Mute
from tests.lab.history import History
from tests.lab.memory_backplane import MemoryBus
from tests.lab.memory_links import MemoryLinks
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker


class InOrder(random.Random):
    """Selects the first relay of a list."""

    def random(self) -> float:
        return 0.5


@dataclass
class SmallCluster:
    """Relays `a`, `b` and `c`."""

    bus: MemoryBus
    relays: dict[str, Relay]
    addresses: dict[str, str]
    parts: dict[str, Cluster]

    def listed(self, first: str) -> list[str]:
        """Return all addresses, starting with the given relay."""
        return [self.addresses[first], *(address for name, address in self.addresses.items() if name != first)]

    def device(self, name: str, first: str, history: History) -> SimulatedDevice:
        """A device that first attaches to the given relay."""
        address, *others = self.listed(first)
        return SimulatedDevice(name, address, history, InOrder(1), others=tuple(others))

    def send_away(self, relay: str, device_id: str) -> None:
        """Make a device leave its relay for the next one in its list."""
        if (port := self.relays[relay]._devices.ports.get(device_id)) is not None:
            port.end(Fault(Reason.DRAINING, "go elsewhere"))

    def publisher(self, first: str) -> Publisher:
        """A publisher that first connects to the given relay."""
        relays = RelayList(self.listed(first), lambda: 0.5)
        return Publisher(GrpcConnector(relays, None, None).open, relays=relays)


@asynccontextmanager
async def small_cluster(
    seed: int = 1, *, access_of_a: Path | None = None, earlier: str = "", linked: bool = False, **groups: tuple[str, ...]
) -> AsyncIterator[SmallCluster]:
    """Yield the relays, joined and listening; `a` has an access file if one is given, and the relay `earlier` is of the version before.

    `linked`: they have links.
    """
    bus = MemoryBus(seed)
    cluster = SmallCluster(bus, {}, {}, {})
    async with AsyncExitStack() as stack:
        for name in "abc":
            config = RelayConfig(listen="127.0.0.1:0", groups=groups, access_file=access_of_a if name == "a" else None)
            relay = Relay(
                config,
                Clocks(boot_time_us, unix_time_us),
                random_bytes=os.urandom,
                encode=wire.encode_payload,
                publisher_token=lambda key: f"token-of-{key}",
            )
            version = TUNNEL_VERSION - (name == earlier)
            names = ClusterNames("test", name)
            links = MemoryLinks(bus, name, usable=linked)
            part = Cluster(relay, bus.node(name), names, links=links, now_us=boot_time_us, random_bytes=os.urandom, tunnel_version=version)
            _, cluster.addresses[name] = await stack.enter_async_context(serving(relay, Mute(), cluster=part))
            cluster.relays[name], cluster.parts[name] = relay, part
        yield cluster


@asynccontextmanager
async def speaking(cluster: SmallCluster, *, door: str, home: str, seed: int = 1) -> AsyncIterator[SimulatedDevice]:
    """Publish to one device during the block; checks that nothing is lost, duplicated, reordered or left without an end."""
    with History() as history:
        device = cluster.device("lobby", home, history)
        await until_attached([device])
        async with cluster.publisher(door) as publisher:
            stop = asyncio.Event()
            manner = Manner(payloads_per_s=200, shortest=40, longest=300, finished_within_s=40)
            speaker = Speaker(1, publisher, "lobby", history, random.Random(seed), manner)
            task = asyncio.create_task(speaker.run(stop))
            yield device
            stop.set()
            await task
        verdict = history.check()
        await device.kill()
    assert verdict.violations == 0, verdict.told
    assert verdict.payloads_received > 100
    assert set(verdict.outcomes) <= {"completed", "interrupted"}, verdict.outcomes


async def more(device: SimulatedDevice, count: int, within_s: float) -> None:
    """Wait until a device has received the given number of further payloads. Raises `TimeoutError`."""
    before = device.player.counts.payloads
    async with asyncio.timeout(within_s):
        while device.player.counts.payloads < before + count:  # noqa: ASYNC110 - a device notifies nobody
            await asyncio.sleep(0.02)
