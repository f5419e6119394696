"""Operators see the events of all relays: real relays and clients, an in-memory backplane."""

from __future__ import annotations

import asyncio

import grpc

from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc as stubs
from tests.lab.history import History
from tests.relay_server.cluster.small_cluster import SmallCluster, small_cluster


async def watched(cluster: SmallCluster, seen: list[tuple[str, str | None]], *devices: str) -> None:
    """Watch from relay `a`."""
    async with grpc.aio.insecure_channel(cluster.addresses["a"]) as channel:
        async for event in stubs.AdminServiceStub(channel).WatchEvents(pb.WatchEventsRequest(device_ids=devices)):
            seen += [(event.device_id, event.WhichOneof("event"))]


async def until(cluster: SmallCluster, name: str, watches: int) -> None:
    """Wait until the given number of watchers, besides its own directory, receive a relay's events."""
    async with asyncio.timeout(10):
        while len(cluster.relays[name].watchers) != 1 + watches:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_watch_sees_devices_of_all_relays() -> None:
    """A watch covers the named devices, or all; after it ends, no watcher remains."""
    async with asyncio.timeout(50), small_cluster() as cluster:
        everything: list[tuple[str, str | None]] = []
        one: list[tuple[str, str | None]] = []
        tasks = [asyncio.create_task(watched(cluster, everything)), asyncio.create_task(watched(cluster, one, "far"))]
        for name in "abc":
            await until(cluster, name, 2)
        with History() as history:
            devices = [cluster.device("near", "a", history), cluster.device("far", "b", history)]
            async with asyncio.timeout(10):
                while len(everything) < 2 or not one:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert sorted(everything) == [("far", "attached"), ("near", "attached")]
            assert one == [("far", "attached")]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for name in "abc":
                await until(cluster, name, 0)
            for device in devices:
                await device.kill()
