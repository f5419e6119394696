"""Settings that an operator pushes to a fleet: simulated and real devices, and restarts of all of them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc, media_pb2
from tests.lab.history import History
from tests.lab.programs import Program, python, running
from tests.lab.restarted_programs import free_port
from tests.lab.simulated_device import SimulatedDevice, until_attached

PATIENCE_S = 60.0
SIMULATED = [f"fleet-{number}" for number in range(20)]
REAL = ["lobby", "hall"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Relay:
    """The relay, as seen by an operator."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._runs = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Program]:
        """Run it, always on the same address."""
        self._runs += 1
        command = [*python("relay_server"), "--listen", self.address, "--log-level", "info"]
        async with running("relay", command, self._folder / f"relay-{self._runs}.log", {}) as program:
            await program.wait_for("listening on", PATIENCE_S)
            yield program

    async def call(self, method: str, request: Any) -> Any:
        """An RPC of `AdminService`."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            return await getattr(admin_service_pb2_grpc.AdminServiceStub(channel), method)(request, timeout=PATIENCE_S)

    async def push(self, device_id: str, **values: str) -> None:
        """Do what `relayctl settings` does."""
        changes = [media_pb2.DeviceSetting(name=name, value=value) for name, value in values.items()]
        await self.call("SetSettings", pb.SetSettingsRequest(device_id=device_id, changes=changes))

    async def device(self, device_id: str) -> pb.Device:
        """Return the device with its settings, once it has confirmed or refused the last change."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    found: pb.Device = (await self.call("GetDevice", pb.GetDeviceRequest(device_id=device_id))).device
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.NOT_FOUND
                else:
                    if found.attached and not found.settings_pending:
                        return found
                await asyncio.sleep(0.1)

    async def values(self, device_id: str) -> dict[str, str]:
        """Return the effective values of a device."""
        return {one.name: one.value for one in (await self.device(device_id)).settings.settings}


@asynccontextmanager
async def client(name: str, relay: Relay, folder: Path, log: str = "log") -> AsyncIterator[Program]:
    """A real device with its own state folder."""
    own = folder / name
    own.mkdir(exist_ok=True)
    command = [*python("edge_client"), "--relay", relay.address, "--device-id", name, "--headless", "--renderer", "none"]
    async with running(name, command, own / log, {"XDG_STATE_HOME": str(own)}) as program:
        yield program


async def test_all_take_them_but_one_and_a_restart_keeps_them(tmp_path: Path) -> None:
    """One real device refuses: this is reported, none of its settings change, and the others have the new ones."""
    relay = Relay(tmp_path)
    wanted = {"rotation": "90", "volume": "0.5"}
    async with AsyncExitStack() as relays, AsyncExitStack() as stack:
        await relays.enter_async_context(relay.running())
        history = stack.enter_context(History())
        fleet = [SimulatedDevice(name, relay.address, history, random.Random(number)) for number, name in enumerate(SIMULATED)]
        for simulated in fleet:
            stack.push_async_callback(simulated.kill)
        clients = {name: await stack.enter_async_context(client(name, relay, tmp_path)) for name in REAL}
        await until_attached(fleet)
        for name in REAL:
            await relay.device(name)

        await asyncio.gather(*(relay.push(name, **wanted) for name in [*SIMULATED, *REAL]))
        assert [await relay.values(name) for name in [*SIMULATED, *REAL]] == [wanted] * 22
        await asyncio.gather(
            *(relay.push(name, rotation="180") for name in [*SIMULATED, "hall"]), relay.push("lobby", rotation="45", volume="0.2")
        )
        refused = (await relay.device("lobby")).settings
        assert [(one.name, one.reason) for one in refused.refused] == [("rotation", "45 is none of 0, 90, 180, 270")]
        assert await relay.values("lobby") == wanted
        turned = wanted | {"rotation": "180"}
        assert [await relay.values(name) for name in [*SIMULATED, "hall"]] == [turned] * 21

        await relay.call("RestartDevice", pb.RestartDeviceRequest(device_id="lobby"))
        await clients["lobby"].wait_for("begins anew, as an operator asks", PATIENCE_S)
        clients["hall"].kill()
        await relays.aclose()
        await relays.enter_async_context(relay.running())
        async with client("hall", relay, tmp_path, "later.log"):
            assert await relay.values("hall") == turned
        assert await relay.values("lobby") == wanted
        assert [await relay.values(name) for name in SIMULATED] == [turned] * 20
        stored = json.loads((tmp_path / "lobby" / "edge-client" / "settings-lobby.json").read_text())
        assert stored["settings"] == wanted
