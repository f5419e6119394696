"""What goes wrong, by seed: one trouble after the other, each with what it takes to be over.

What is measured, in seconds: from a new relay that listens to each device's welcome (`attached_after_listening_s`) and to the next
payload that it gets (`streaming_after_listening_s`; `…_after_restart_s` where the old one was drained, and hinted to wait); from the
first byte that a line swallows to where a device or publisher gives up its stream (`half_open_found_s`), and has another one
(`half_open_back_s`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from avatar_relay.publisher import Publisher
from tests.lab.fault_proxy import CALM, Weather
from tests.lab.restarted_programs import RelayProgram
from tests.lab.simulated_device import SimulatedDevice

HOLE_S = (1.2, 5.5)
"""How long a line swallows everything: longer than a heartbeat, so that something is lost; up to where the first attempt to come
back falls into it too."""
WAYS = (("up",), ("down",), ("up", "down"))
HUNG_S = 30.0
"""Whoever is not back so long after a trouble hangs."""
POLL_S = 0.01

PUBLISHERS_AWAY = {"publisher_cut": 2.0, "publisher_half_open": 12.0, "relay_killed": 0.0, "relay_restarted": 8.0}


class Line(Protocol):
    """A client's way to its relay, or to each of its relays."""

    up: Weather
    down: Weather

    @property
    def accepted(self) -> int:
        """Connections so far."""
        ...

    async def cut(self) -> None:
        """Break all connections."""
        ...

    async def reset(self) -> None:
        """… by RST."""
        ...

    async def stall(self, seconds: float) -> None:
        """Let nothing through for so long."""
        ...


class LineFaults:
    """Does things to devices, and to the lines between devices, publishers and relays.

    `counts` tells how often, `times` how long it took (s), `hung` who was not back after `HUNG_S`.
    """

    publishers_away: Mapping[str, float] = PUBLISHERS_AWAY
    """So long (s) publishers may be away after a trouble. Within it no other such trouble comes: a publisher that is away for longer
    than its lease loses its conversations, by rule."""

    def __init__(
        self,
        devices: Sequence[SimulatedDevice],
        device_lines: Sequence[Line],
        publishers: Sequence[Publisher],
        publisher_lines: Sequence[Line],
        chance: random.Random,
    ) -> None:
        self._devices = devices
        self._device_lines = device_lines
        self._publishers = publishers
        self._publisher_lines = publisher_lines
        self._chance = chance
        self.counts: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.hung: list[str] = []
        self._in_holes: set[Line] = set()
        """Lines whose ends are not back yet from a hole: no second one falls upon them, or their times would tell nothing."""
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
        }

    async def run(self, stop: asyncio.Event, names: list[str], every_s: float, *, count: int, one_by_one: bool) -> None:
        """One trouble after the other until `stop`, or `count` of them; then all is calm again.

        `one_by_one`: each of them waits until everybody is back from the last one.
        """
        kinds = self.kinds()
        while not stop.is_set() and not (count and self.counts.total() >= count):
            await asyncio.sleep(self._chance.expovariate(1 / every_s))
            name = self._chance.choice(names)
            if one_by_one:
                await asyncio.gather(*self._background)
            elif name in self.publishers_away:
                if time.monotonic() < self._publishers_back:
                    continue
                self._publishers_back = time.monotonic() + self.publishers_away[name]
            self.counts[name] += 1
            await kinds[name]()
        await asyncio.gather(*self._background)
        for line in (*self._device_lines, *self._publisher_lines):
            line.up = line.down = CALM

    def _line(self) -> Line:
        return self._chance.choice(self._device_lines)

    async def device_cut(self) -> None:
        """A device's connection ends."""
        await self._line().cut()

    async def device_reset(self) -> None:
        """… by RST."""
        await self._line().reset()

    async def device_stall(self) -> None:
        """Nothing gets through for a second; then all of it."""
        self.beside(self._line().stall(1.0))

    async def device_half_open(self) -> None:
        """One way of a device's link swallows everything, and nobody is told."""
        calm = [number for number, line in enumerate(self._device_lines) if line not in self._in_holes]
        if not calm:
            return
        number = self._chance.choice(calm)
        device = self._devices[number]
        player, streams = device.player, len(device.player.welcomes)
        self.beside(
            self._half_open(
                f"device {device.device_id}",
                self._device_lines[number],
                has_gone=lambda: not device.link.status.attached or len(player.welcomes) > streams,
                is_back=lambda: device.player is not player or len(player.welcomes) > streams,
            )
        )

    async def publisher_half_open(self) -> None:
        """The same for a publisher."""
        number = self._chance.randrange(len(self._publishers))
        publisher, line = self._publishers[number], self._publisher_lines[number]
        connections = line.accepted
        self.beside(
            self._half_open(
                f"publisher {number}",
                line,
                has_gone=lambda: not publisher.is_connected or line.accepted > connections,
                is_back=lambda: publisher.is_connected and line.accepted > connections,
            )
        )

    async def _half_open(self, who: str, line: Line, *, has_gone: Callable[[], bool], is_back: Callable[[], bool]) -> None:
        """The connections of now lose what is said for a while, and with it all that follows; those made later live."""
        began, ways = time.monotonic(), self._chance.choice(WAYS)
        self._in_holes.add(line)
        hole = self.beside(self._hole(line, ways, self._chance.uniform(*HOLE_S)))
        for name, is_so in (("half_open_found_s", has_gone), ("half_open_back_s", is_back)):
            if not await within(HUNG_S, is_so):
                self.hung.append(f"{who}: {' and '.join(ways)} half open, {name}")
                break
            self.times.setdefault(name, []).append(time.monotonic() - began)
        await hole
        self._in_holes.discard(line)

    async def _hole(self, line: Line, ways: tuple[str, ...], seconds: float) -> None:
        for way in ways:
            setattr(line, way, Weather(hole=True))
        await asyncio.sleep(seconds)
        for way in ways:
            setattr(line, way, CALM)

    async def device_killed(self) -> None:
        """A device is switched off at the wall, and on again."""
        device = self._chance.choice(self._devices)
        await device.kill()
        device.start()

    async def weather(self) -> None:
        """A device's link becomes bad for a while: latency, jitter, spikes, slices."""
        line = self._line()
        bad = Weather(50, 40, 0.01, 200, slice_bytes=self._chance.choice((0, 100, 1_400)))
        self.beside(self._for_a_while(line, bad, 4.0))

    async def narrow(self) -> None:
        """A device's link becomes narrow for a while: 64 kbit/s."""
        self.beside(self._for_a_while(self._line(), Weather(bytes_per_s=8_000), 4.0))

    async def _for_a_while(self, line: Line, weather: Weather, seconds: float) -> None:
        line.down = replace(weather, hole=line.down.hole)
        await asyncio.sleep(seconds)
        line.down = CALM

    async def publisher_cut(self) -> None:
        """A publisher's connection ends."""
        await self._chance.choice(self._publisher_lines).cut()

    def beside(self, work: Awaitable[None]) -> asyncio.Task[None]:
        async def do() -> None:
            await work

        task = asyncio.create_task(do())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


class Faults(LineFaults):
    """… and to the one relay."""

    def __init__(
        self,
        relay: RelayProgram,
        devices: Sequence[SimulatedDevice],
        device_lines: Sequence[Line],
        publishers: Sequence[Publisher],
        publisher_lines: Sequence[Line],
        chance: random.Random,
    ) -> None:
        super().__init__(devices, device_lines, publishers, publisher_lines, chance)
        self._relay = relay

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """See `LineFaults`."""
        return super().kinds() | {"relay_killed": self.relay_killed, "relay_restarted": self.relay_restarted}

    async def relay_killed(self) -> None:
        """kill -9, and a new one."""
        await self._relay.kill()
        await self._start_again("listening")

    async def relay_restarted(self) -> None:
        """SIGTERM with its grace, and a new one."""
        self.times.setdefault("drain_s", []).append(await self._relay.terminate())
        await self._start_again("restart")

    async def _start_again(self, what: str) -> None:
        streams = [len(device.player.welcomes) for device in self._devices]
        await self._relay.start()
        listening_us = self._relay.listening_us
        for device, before in zip(self._devices, streams, strict=True):
            self.beside(self._until_streaming(device, before, listening_us, what))

    async def _until_streaming(self, device: SimulatedDevice, before: int, listening_us: int, what: str) -> None:
        """Measures until another trouble falls upon this one."""
        player = device.player

        def is_over() -> bool:
            return device.player is not player or self._relay.listening_us != listening_us

        if not await within(HUNG_S, lambda: is_over() or (len(player.welcomes) > before and player.fed_us > listening_us)):
            self.hung.append(f"device {device.device_id}: {len(player.welcomes) - before} streams at the new relay, nothing came")
        elif not is_over():
            self.times.setdefault(f"attached_after_{what}_s", []).append((player.welcomes[before] - listening_us) / 1e6)
            self.times.setdefault(f"streaming_after_{what}_s", []).append((player.fed_us - listening_us) / 1e6)


async def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    """Wait until something is so; False if that takes longer."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
