"""Two real relays, a list of both, and one of them killed with −9: devices and publishers continue at the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from avatar_relay.grpc_client import CHANNEL_OPTIONS
from avatar_relay.publisher import ConnectionLostError, Publisher
from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc
from tests.lab.history import History
from tests.lab.programs import Program, python, running
from tests.lab.restarted_programs import free_port
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker

START_S = 30.0


@asynccontextmanager
async def relay(folder: Path, address: str, *arguments: str) -> AsyncIterator[Program]:
    """Start a relay that listens on the given address."""
    log = folder / f"relay-{address.rpartition(':')[2]}.log"
    async with running("relay", [*python("relay_server"), "--listen", address, *arguments], log, {}) as program:
        await program.wait_for(r"listening on", START_S)
        yield program


async def test_the_standby_goes_on_where_the_active_relay_died(tmp_path: Path) -> None:
    """Nothing is lost, duplicated or left without an end, although the first relay's sessions are lost."""
    active, standby = (f"127.0.0.1:{free_port()}" for _ in range(2))
    async with asyncio.timeout(60):
        async with relay(tmp_path, active) as first:
            with History() as history:
                device = SimulatedDevice("lobby", standby, history, random.Random(1), others=(active,))
                await until_attached([device])
                assert device.link.status.text == f"attached to {active}"
                stop = asyncio.Event()
                async with Publisher.connect([standby, active]) as publisher:
                    speaker = Speaker(1, publisher, "lobby", history, random.Random(2), Manner(shortest=200, longest=400))
                    speaking = asyncio.create_task(speaker.run(stop))
                    await asyncio.sleep(0.5)
                    first.kill()
                    async with relay(tmp_path, standby):
                        await until_attached([device], streams=2)
                        assert device.link.status.text == f"attached to {standby}"
                        await asyncio.sleep(0.5)
                        stop.set()
                        await speaking
                verdict = history.check()
                await device.kill()
    assert verdict.violations == 0, verdict.told
    assert verdict.outcomes["completed"] >= 1
    assert verdict.payloads_received > 200


@pytest.mark.slow
async def test_a_name_with_several_addresses_is_several_relays(tmp_path: Path) -> None:
    """`localhost` is 127.0.0.1 and ::1 here: streams are spread over both, and later use the one that is left."""
    port = free_port()
    channel_to = f"localhost:{port}"

    async def attached_device_count() -> int:
        async with grpc.aio.insecure_channel(channel_to, options=CHANNEL_OPTIONS) as channel:
            answer = await admin_service_pb2_grpc.AdminServiceStub(channel).ListDevices(admin_service_pb2.ListDevicesRequest(), timeout=5)
            return len(answer.devices)

    async with asyncio.timeout(60), relay(tmp_path, f"127.0.0.1:{port}"):
        (tmp_path / "six").mkdir()
        async with relay(tmp_path / "six", f"[::1]:{port}") as six:
            with History() as history:
                device = SimulatedDevice("lobby", f"127.0.0.1:{port}", history, random.Random(1))
                await until_attached([device])
                seen = {await attached_device_count() for _ in range(20)}
                if seen == {1}:
                    pytest.skip("localhost is one address on this machine")
                assert seen == {0, 1}
                six.kill()
                assert {await attached_device_count() for _ in range(5)} == {1}
                await device.kill()


@pytest.mark.slow
async def test_a_relay_that_refuses_is_left_for_one_that_does_not(tmp_path: Path) -> None:
    """One relay of the list does not know the token: its refusal is final for a single relay, but not in a list."""
    (access := tmp_path / "access.json").write_text('{"version": 1}')
    strict, open_ = (f"127.0.0.1:{free_port()}" for _ in range(2))
    async with asyncio.timeout(60), relay(tmp_path, strict, "--access-file", str(access)), relay(tmp_path, open_):
        with pytest.raises(ConnectionLostError) as refused:
            await Publisher.connect(strict).__aenter__()
        assert refused.value.final
        for _ in range(4):  # whichever is selected first
            async with Publisher.connect([strict, open_]) as publisher:
                assert publisher.is_connected
        with History() as history:
            device = SimulatedDevice("lobby", open_, history, random.Random(1), others=(strict,))
            await until_attached([device])
            await device.kill()
