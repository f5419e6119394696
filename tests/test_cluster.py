"""Relays clustered over a real NATS server: real relays as programs, simulated devices, the publisher library."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import grpc.aio
import pytest

from avatar_relay.publisher import Publisher
from avatar_relay.publisher.grpc_link import GrpcConnector
from avatar_relay.relay_list import RelayList
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc
from tests.lab.history import History
from tests.lab.relay_cluster import NATS, RelayCluster
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker

pytestmark = [
    pytest.mark.skipif(NATS is None, reason="Debian's package nats-server is not installed"),
    pytest.mark.timeout(120),
]
MANNER = Manner(shortest=100, longest=300, interrupted_share=0.2)


class InOrder(random.Random):
    """Selects the first relay of a list."""

    def random(self) -> float:
        return 0.5


def publisher_at(*addresses: str) -> Publisher:
    """A publisher that first connects to the first of these relays."""
    relays = RelayList(addresses, lambda: 0.5)
    return Publisher(GrpcConnector(relays, None, None).open, relays=relays)


async def operate(operator: admin_service_pb2_grpc.AdminServiceStub, device: SimulatedDevice) -> None:
    """List and control a device from a relay to which it is not attached."""
    listed = await operator.ListDevices(pb.ListDevicesRequest(), timeout=5)
    assert [(found.device_id, found.attached) for found in listed.devices] == [("lobby", True)]
    shown = await operator.GetDevice(pb.GetDeviceRequest(device_id="lobby"), timeout=5)
    assert shown.device.software_version == "simulated"
    await operator.SetVolume(pb.SetVolumeRequest(device_id="lobby", volume={"gain": 0.25}), timeout=5)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await operator.Pause(pb.PauseRequest(device_id="nobody"), timeout=5)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    async with asyncio.timeout(5):
        while (await operator.GetDevice(pb.GetDeviceRequest(device_id="lobby"))).device.volume.gain != 0.25:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def more_payloads(device: SimulatedDevice, count: int, within_s: float) -> None:
    """Wait until a device has received the given number of further payloads. Raises `TimeoutError`."""
    before = device.player.counts.payloads
    async with asyncio.timeout(within_s):
        while device.player.counts.payloads < before + count:  # noqa: ASYNC110 - a device notifies nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("with_links", [False, True])
async def test_a_publisher_reaches_a_device_of_another_relay(tmp_path: Path, with_links: bool) -> None:
    """Payloads, ends and interrupts are forwarded to its home; the device's events come back."""
    async with asyncio.timeout(100), RelayCluster(tmp_path, with_links=with_links) as cluster:
        door, home = await cluster.start("door"), await cluster.start("home")
        with History() as history:
            device = SimulatedDevice("lobby", home, history, random.Random(1))
            await until_attached([device])
            async with Publisher.connect(door) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(1, publisher, "lobby", history, random.Random(2), MANNER)
                asyncio.get_running_loop().call_later(2.0, stop.set)
                await speaker.run(stop)
            verdict = history.check()
            async with grpc.aio.insecure_channel(door) as channel:
                await operate(admin_service_pb2_grpc.AdminServiceStub(channel), device)
            await device.kill()
    assert verdict.violations == 0, verdict.told
    assert verdict.outcomes["completed"] >= 2, verdict.outcomes
    assert verdict.outcomes["interrupted"] >= 1, verdict.outcomes


@pytest.mark.slow
@pytest.mark.parametrize("with_links", [False, True])
@pytest.mark.parametrize("victim", ["door", "home"])
async def test_a_relay_that_is_killed_costs_nothing(tmp_path: Path, victim: str, with_links: bool) -> None:
    """kill −9 during conversations: device or publisher moves to another relay, and each payload arrives once."""
    async with asyncio.timeout(100), RelayCluster(tmp_path, with_links=with_links) as cluster:
        addresses = {name: await cluster.start(name) for name in ("door", "home", "other")}
        with History() as history:
            device = SimulatedDevice("lobby", addresses["home"], history, InOrder(1), others=(addresses["other"],))
            await until_attached([device])
            async with publisher_at(addresses["door"], addresses["other"]) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(1, publisher, "lobby", history, random.Random(2), Manner(interrupted_share=0.1))
                speaking = asyncio.create_task(speaker.run(stop))
                await asyncio.sleep(1.0)
                cluster.relays[victim].kill()
                await more_payloads(device, 200, within_s=5.0)
                await asyncio.sleep(1.0)
                stop.set()
                await speaking
            verdict = history.check()
            await device.kill()
    assert verdict.violations == 0, verdict.told
    assert set(verdict.outcomes) <= {"completed", "interrupted"}, verdict.outcomes


@pytest.mark.slow
async def test_without_nats_local_pairs_go_on_and_others_wait(tmp_path: Path) -> None:
    """NATS is down longer than a publisher's lease: no stream of a local pair ends, and nothing is lost anywhere."""
    async with asyncio.timeout(100), RelayCluster(tmp_path) as cluster:
        door, home = await cluster.start("door"), await cluster.start("home")
        with History() as history:
            near = SimulatedDevice("near", door, history, random.Random(1))
            far = SimulatedDevice("far", home, history, random.Random(2))
            await until_attached([near, far])
            async with Publisher.connect(door) as to_near, Publisher.connect(door) as to_far:
                stop, tasks = asyncio.Event(), []
                for number, publisher, name in ((1, to_near, "near"), (2, to_far, "far")):
                    speaker = Speaker(number, publisher, name, history, random.Random(number), Manner(interrupted_share=0.1))
                    tasks.append(asyncio.create_task(speaker.run(stop)))
                await asyncio.sleep(1.0)
                streams = to_near._streams
                async with cluster.without_nats():
                    await more_payloads(near, 4_000, within_s=9.0)
                    waiting = far.player.counts.payloads
                    await more_payloads(near, 400, within_s=2.0)
                    assert far.player.counts.payloads == waiting
                await more_payloads(far, 200, within_s=5.0)
                assert to_near._streams == streams
                stop.set()
                await asyncio.gather(*tasks)
            verdict = history.check()
            await near.kill()
            await far.kill()
    assert verdict.violations == 0, verdict.told
    assert set(verdict.outcomes) <= {"completed", "interrupted"}, verdict.outcomes


@pytest.mark.slow
async def test_one_of_three_nats_servers_may_die(tmp_path: Path) -> None:
    """Each is killed once during conversations, and restarted: relays switch to another one, and nothing is lost."""
    async with asyncio.timeout(100), RelayCluster(tmp_path, nats_servers=3) as cluster:
        door, home = await cluster.start("door"), await cluster.start("home")
        with History() as history:
            device = SimulatedDevice("lobby", home, history, random.Random(1))
            await until_attached([device])
            async with Publisher.connect(door) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(1, publisher, "lobby", history, random.Random(2), Manner(interrupted_share=0.1))
                speaking = asyncio.create_task(speaker.run(stop))
                for number in range(3):
                    await more_payloads(device, 400, within_s=6.0)
                    async with cluster.without_nats(number):
                        await more_payloads(device, 400, within_s=6.0)
                    await asyncio.sleep(1.0)
                stop.set()
                await speaking
            verdict = history.check()
            await device.kill()
    assert verdict.violations == 0, verdict.told
    assert set(verdict.outcomes) <= {"completed", "interrupted"}, verdict.outcomes


@pytest.mark.slow
async def test_a_relay_that_drains_hands_its_devices_on(tmp_path: Path) -> None:
    """Idle devices leave at once, others at the end of the grace period at the latest; nothing is lost."""
    async with asyncio.timeout(100), RelayCluster(tmp_path, "--drain-grace-ms", "3000") as cluster:
        addresses = {name: await cluster.start(name) for name in ("door", "home", "other")}
        with History() as history:
            busy, idle = (
                SimulatedDevice(name, addresses["home"], history, InOrder(1), others=(addresses["other"],)) for name in ("busy", "idle")
            )
            await until_attached([busy, idle])
            async with Publisher.connect(addresses["door"]) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(
                    1, publisher, "busy", history, random.Random(2), Manner(shortest=3_000, longest=3_000, interrupted_share=0)
                )
                speaking = asyncio.create_task(speaker.run(stop))
                await asyncio.sleep(1.0)
                cluster.relays["home"].terminate()
                async with asyncio.timeout(1.5):
                    await until_attached([idle], streams=2)
                assert len(busy.player.welcomes) == 1
                await until_attached([busy], streams=2)
                stop.set()
                await speaking
            verdict = history.check()
            await busy.kill()
            await idle.kill()
    assert verdict.violations == 0, verdict.told
    assert verdict.outcomes == {"completed": verdict.conversations}
