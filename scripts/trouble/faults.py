"""What goes wrong, by seed: one trouble after the other, each with what it takes to be over."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from scripts.trouble.device import Device
from scripts.trouble.relay_process import RelayProcess
from tests.fault_proxy import CALM, FaultProxy, Weather

HOLE_S = 1.2
"""Longer than a heartbeat, so that something is lost."""

PUBLISHERS_AWAY = {"publisher_cut": 2.0, "publisher_half_open": 9.0, "relay_killed": 4.0, "relay_restarted": 8.0}
"""So long (s) publishers may be away after a trouble. Within it no other such trouble comes: a publisher that is away for longer
than its lease loses its conversations, by rule."""


class Faults:
    """Does things to a relay, its devices and the lines between. `counts` tells how often, `times` how long it took (s)."""

    def __init__(
        self,
        relay: RelayProcess,
        devices: list[Device],
        device_lines: list[FaultProxy],
        publisher_lines: list[FaultProxy],
        chance: random.Random,
    ) -> None:
        self._relay = relay
        self._devices = devices
        self._device_lines = device_lines
        self._publisher_lines = publisher_lines
        self._chance = chance
        self.counts: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self._publishers_back = 0.0
        self._background: set[asyncio.Task[None]] = set()

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """All troubles by name."""
        return {
            "device_cut": self.device_cut,
            "device_reset": self.device_reset,
            "device_stall": self.device_stall,
            "device_half_open": self.device_half_open,
            "device_killed": self.device_killed,
            "weather": self.weather,
            "narrow": self.narrow,
            "publisher_cut": self.publisher_cut,
            "publisher_half_open": self.publisher_half_open,
            "relay_killed": self.relay_killed,
            "relay_restarted": self.relay_restarted,
        }

    async def run(self, stop: asyncio.Event, names: list[str], every_s: float) -> None:
        """One trouble after the other until `stop`; then all is calm again."""
        kinds = self.kinds()
        while not stop.is_set():
            await asyncio.sleep(self._chance.expovariate(1 / every_s))
            name = self._chance.choice(names)
            if name in PUBLISHERS_AWAY:
                if time.monotonic() < self._publishers_back:
                    continue
                self._publishers_back = time.monotonic() + PUBLISHERS_AWAY[name]
            self.counts[name] += 1
            await kinds[name]()
        await asyncio.gather(*self._background)
        for line in (*self._device_lines, *self._publisher_lines):
            line.up = line.down = CALM

    def _line(self) -> FaultProxy:
        return self._chance.choice(self._device_lines)

    async def device_cut(self) -> None:
        """A device's connection ends."""
        await self._line().cut()

    async def device_reset(self) -> None:
        """… by RST."""
        await self._line().reset()

    async def device_stall(self) -> None:
        """Nothing gets through for a second; then all of it."""
        self._beside(self._line().stall(1.0))

    async def device_half_open(self) -> None:
        """One way of a device's link swallows everything, and nobody is told."""
        number = self._chance.randrange(len(self._devices))
        self._beside(self._half_open(self._device_lines[number], self._chance.choice(("up", "down")), self._devices[number]))

    async def publisher_half_open(self) -> None:
        """The same for a publisher."""
        self._beside(self._half_open(self._chance.choice(self._publisher_lines), self._chance.choice(("up", "down")), None))

    async def _half_open(self, line: FaultProxy, way: str, device: Device | None) -> None:
        """The connections of now lose what is said for a moment, and with it all that follows; new ones live."""
        began = time.monotonic()
        streams = len(device.ear.welcomes) if device is not None else 0
        setattr(line, way, Weather(hole=True))
        await asyncio.sleep(HOLE_S)
        setattr(line, way, CALM)
        while device is not None and len(device.ear.welcomes) <= streams and time.monotonic() - began < 60:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
        if device is not None:
            self.times.setdefault("back_after_half_open_s", []).append(time.monotonic() - began)

    async def device_killed(self) -> None:
        """A device is switched off at the wall, and on again."""
        device = self._chance.choice(self._devices)
        await device.kill()
        device.start()

    async def weather(self) -> None:
        """A device's link becomes bad for a while: latency, jitter, spikes, slices."""
        line = self._line()
        bad = Weather(50, 40, 0.01, 200, slice_bytes=self._chance.choice((0, 100, 1_400)))
        self._beside(self._for_a_while(line, bad, 4.0))

    async def narrow(self) -> None:
        """A device's link becomes narrow for a while: 64 kbit/s."""
        self._beside(self._for_a_while(self._line(), Weather(bytes_per_s=8_000), 4.0))

    async def _for_a_while(self, line: FaultProxy, weather: Weather, seconds: float) -> None:
        line.down = replace(weather, hole=line.down.hole)
        await asyncio.sleep(seconds)
        line.down = CALM

    async def publisher_cut(self) -> None:
        """A publisher's connection ends."""
        await self._chance.choice(self._publisher_lines).cut()

    async def relay_killed(self) -> None:
        """kill -9, and a new one."""
        await self._relay.kill()
        await self._start_again()

    async def relay_restarted(self) -> None:
        """SIGTERM with its grace, and a new one."""
        self.times.setdefault("drain_s", []).append(await self._relay.terminate())
        await self._start_again()

    async def _start_again(self) -> None:
        streams = [len(device.ear.welcomes) for device in self._devices]
        await self._relay.start()
        listening_us = self._relay.listening_us
        self._beside(self._until_back(streams, listening_us))

    async def _until_back(self, streams: list[int], listening_us: int) -> None:
        deadline = time.monotonic() + 30
        for device, before in zip(list(self._devices), streams, strict=True):
            ear = device.ear
            while len(ear.welcomes) <= before and time.monotonic() < deadline and device.ear is ear:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            if device.ear is ear and len(ear.welcomes) > before and self._relay.listening_us == listening_us:
                self.times.setdefault("attached_after_listening_s", []).append((ear.welcomes[before] - listening_us) / 1e6)

    def _beside(self, work: Awaitable[None]) -> None:
        async def do() -> None:
            await work

        task = asyncio.create_task(do())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
