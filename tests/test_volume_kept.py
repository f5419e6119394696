"""A volume set by command applies after restarts of device and relay: real programs, and the sound as played."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.lab.programs import Program, attached, python, running

PATIENCE_S = 60.0
PEAK, QUARTER = 21_632, 5_408
LEASE_MS = 10_000
CLOCK = Path(__file__).parent / "lab" / "clock_of_1970.c"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Pair:
    """A relay on one port, and a device with one state folder; each can be started any number of times."""

    def __init__(self, folder: Path, device_environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = {"XDG_STATE_HOME": str(folder / "state"), **device_environment}
        self._numbers = itertools.count(1)
        self.address = "127.0.0.1:0"
        tone = PEAK * np.sin(2 * np.pi * 500 * np.arange(24_000) / 48_000)
        soundfile.write(folder / "tone.wav", np.rint(tone).astype(np.int16), 48_000)

    @asynccontextmanager
    async def relay(self) -> AsyncIterator[Program]:
        command = [*python("relay_server"), "--listen", self.address, "--speech-folder", str(self._folder)]
        command += ["--device-lease-ms", str(LEASE_MS)]
        async with running("relay", command, self._folder / f"relay-{next(self._numbers)}.log", {}) as relay:
            self.address = (await relay.wait_for(r"listening on (\S+)", PATIENCE_S))[1]
            yield relay

    @asynccontextmanager
    async def device(self, record: str = "unheard") -> AsyncIterator[Program]:
        command = [*python("edge_client"), "--relay", self.address, "--device-id", "lobby", "--headless", "--renderer", "none"]
        command += ["--audio-sink", "wav", "--record", str(self._folder / record)]
        async with running("device", command, self._folder / f"device-{next(self._numbers)}.log", self._environment) as device:
            async with asyncio.timeout(PATIENCE_S):
                await attached(self.address, "lobby")
            yield device

    async def relayctl(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay_server.relayctl.cli", "--relay", self.address, *arguments), stdout=subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0
        return said.decode()

    async def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.relayctl("--json", "show", "lobby"))["device"]
        return found

    async def confirmed(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.shown())["volume_pending"]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def play(self) -> None:
        await self.relayctl("play", "lobby", "tone.wav")
        async with asyncio.timeout(PATIENCE_S):
            while (await self.shown())["conversations"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    def peak(self, record: str) -> int:
        samples, _ = soundfile.read(self._folder / record / "played.wav", dtype="int16")
        return int(np.abs(samples.astype(int)).max())


@pytest.fixture(params=["now", "1970"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """With a device whose wall clock is right, or still has its factory value."""
    environment: dict[str, str] = {}
    if request.param == "1970":
        if (compiler := shutil.which("gcc")) is None:
            pytest.skip("no C compiler for the clock: apt-get install gcc")
        library = tmp_path / "clock_of_1970.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(CLOCK), "-ldl"], check=True)
        environment = {"LD_PRELOAD": str(library)}
        year = [sys.executable, "-c", "import time; print(time.gmtime().tm_year)"]
        assert subprocess.run(year, env=os.environ | environment, capture_output=True, check=True).stdout == b"1970\n"
        assert time.gmtime().tm_year > 1970
    return Pair(tmp_path, environment)


async def test_a_quarter_is_heard_after_restarts(pair: Pair) -> None:
    """Restarts of the device, of the relay, of both."""
    async with AsyncExitStack() as relays:
        await relays.enter_async_context(pair.relay())
        async with pair.device("full") as device:
            await pair.play()
            assert (await pair.relayctl("volume", "lobby", "0.25")) == "volume 0.25 (63%)\n"
            await pair.confirmed()
            assert "0.25 (63%)\n" in await pair.relayctl("show", "lobby")
        async with pair.device("device") as device:
            await pair.play()
        async with pair.device("relay") as device:
            await relays.aclose()
            await relays.enter_async_context(pair.relay())
            async with asyncio.timeout(PATIENCE_S):
                await attached(pair.address, "lobby")
            await pair.play()
            await device.stop()
        await relays.aclose()
        await relays.enter_async_context(pair.relay())
        async with pair.device("both"):
            assert (await pair.shown())["volume"]["gain"] == 0.25
            await pair.play()
    assert {record: pair.peak(record) for record in ("full", "device", "relay", "both")} == {
        "full": PEAK,
        "device": QUARTER,
        "relay": QUARTER,
        "both": QUARTER,
    }


async def test_a_command_for_a_device_that_is_away_is_applied_when_it_returns(pair: Pair) -> None:
    """Within its lease, and after it; watchers are notified when it is set and when it is stored."""
    async with pair.relay():
        async with pair.device() as device:
            device.kill()
        assert "0.25" in await pair.relayctl("volume", "lobby", "0.25")
        await asyncio.sleep(LEASE_MS / 1_000 + 0.5)
        watch = [sys.executable, "-u", "-m", "relay_server.relayctl.cli", "--relay", pair.address, "watch", "lobby"]
        async with running("watch", watch, pair._folder / "watch.log", {}) as watcher:
            await asyncio.sleep(1.0)
            async with pair.device("late"):
                await pair.play()
                await pair.confirmed()
                await pair.relayctl("mute", "lobby")
                await watcher.wait_for(r"volume 0\.25 \(63%\)\n", PATIENCE_S)
                await watcher.wait_for(r"volume 0\.25 \(63%\), muted, not confirmed by the device\n", PATIENCE_S)
        async with pair.device():
            assert (await pair.shown())["volume"]["muted"]
            assert await pair.relayctl("unmute", "lobby") == "volume 0.25 (63%)\n"
            await pair.confirmed()
        async with pair.device("again") as device:
            await pair.play()
    assert (pair.peak("late"), pair.peak("again")) == (QUARTER, QUARTER)


async def test_what_is_confirmed_survives_a_crash(pair: Pair) -> None:
    """The device is killed as soon as the relay reports the volume as stored, and the relay is restarted."""
    async with pair.relay(), pair.device() as device:
        await pair.relayctl("volume", "lobby", "63%")
        await pair.confirmed()
        device.kill()
    async with pair.relay(), pair.device("crashed"):
        await pair.play()
    assert abs(pair.peak("crashed") - 0.63**3 * PEAK) <= 1
