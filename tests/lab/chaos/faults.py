"""Seeded fault injection: one fault after another, each with its recovery.

Measured, in seconds: from the start of a new relay's listening to each device's welcome (`attached_after_listening_s`) and to its next
payload (`streaming_after_listening_s`; `…_after_restart_s` if the old relay was drained and sent a retry hint); from the first byte
that a line drops until a device or publisher abandons its stream (`half_open_found_s`), and until it has a new one
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
"""How long a line drops everything: longer than a heartbeat, so that something is lost; at most so long that the first attempt to
reconnect is lost too."""
WAYS = (("up",), ("down",), ("up", "down"))
HUNG_S = 30.0
"""A client that has not recovered this long after a fault counts as hung."""
POLL_S = 0.01

PUBLISHERS_AWAY = {"publisher_cut": 2.0, "publisher_half_open": 12.0, "relay_killed": 0.0, "relay_restarted": 8.0}


class Line(Protocol):
    """A client's connection to its relay, or to each of its relays."""

    up: Weather
    down: Weather

    @property
    def accepted(self) -> int:
        """Number of connections so far."""
        ...

    async def cut(self) -> None:
        """Break all connections."""
        ...

    async def reset(self) -> None:
        """… by RST."""
        ...

    async def stall(self, seconds: float) -> None:
        """Hold back all data for `seconds`."""
        ...


class LineFaults:
    """Injects faults into devices, and into the lines between devices, publishers and relays.

    `counts` holds the number of faults by kind, `times` the recovery times (s), `hung` the clients that had not recovered after `HUNG_S`.
    """

    publishers_away: Mapping[str, float] = PUBLISHERS_AWAY
    """Seconds for which publishers may be away after a fault. No other such fault is injected meanwhile: a publisher that is away for
    longer than its lease loses its conversations, by rule."""

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
        """Lines whose ends have not recovered from a hole; they get no second one, which would invalidate their times."""
        self._publishers_back = 0.0
        self._background: set[asyncio.Task[None]] = set()

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """All faults by name."""
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
        """Inject faults one after another until `stop` is set or `count` were injected, then remove them all.

        `one_by_one`: each fault waits until all clients have recovered from the previous one.
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
        """Close a device's connection."""
        await self._line().cut()

    async def device_reset(self) -> None:
        """… by RST."""
        await self._line().reset()

    async def device_stall(self) -> None:
        """Hold back all data of a device for a second."""
        self.beside(self._line().stall(1.0))

    async def device_half_open(self) -> None:
        """Drop everything in one direction of a device's link, without an error."""
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
        """Make current connections drop data for a while; they stay dead afterwards. Later connections work."""
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
        """Power-cycle a device."""
        device = self._chance.choice(self._devices)
        await device.kill()
        device.start()

    async def weather(self) -> None:
        """Degrade a device's link for a while: latency, jitter, spikes, slices."""
        line = self._line()
        bad = Weather(50, 40, 0.01, 200, slice_bytes=self._chance.choice((0, 100, 1_400)))
        self.beside(self._for_a_while(line, bad, 4.0))

    async def narrow(self) -> None:
        """Limit a device's link to 64 kbit/s for a while."""
        self.beside(self._for_a_while(self._line(), Weather(bytes_per_s=8_000), 4.0))

    async def _for_a_while(self, line: Line, weather: Weather, seconds: float) -> None:
        line.down = replace(weather, hole=line.down.hole)
        await asyncio.sleep(seconds)
        line.down = CALM

    async def publisher_cut(self) -> None:
        """Close a publisher's connection."""
        await self._chance.choice(self._publisher_lines).cut()

    def beside(self, work: Awaitable[None]) -> asyncio.Task[None]:
        async def do() -> None:
            await work

        task = asyncio.create_task(do())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


class Faults(LineFaults):
    """Also injects faults into the one relay."""

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
        """Kill the relay with SIGKILL and start a new one."""
        await self._relay.kill()
        await self._start_again("listening")

    async def relay_restarted(self) -> None:
        """Stop the relay with SIGTERM and its grace period, and start a new one."""
        self.times.setdefault("drain_s", []).append(await self._relay.terminate())
        await self._start_again("restart")

    async def _start_again(self, what: str) -> None:
        streams = [len(device.player.welcomes) for device in self._devices]
        await self._relay.start()
        listening_us = self._relay.listening_us
        for device, before in zip(self._devices, streams, strict=True):
            self.beside(self._until_streaming(device, before, listening_us, what))

    async def _until_streaming(self, device: SimulatedDevice, before: int, listening_us: int, what: str) -> None:
        """Measure the time until the device streams; abandoned if another fault hits it."""
        player = device.player

        def is_over() -> bool:
            return device.player is not player or self._relay.listening_us != listening_us

        if not await within(HUNG_S, lambda: is_over() or (len(player.welcomes) > before and player.fed_us > listening_us)):
            self.hung.append(f"device {device.device_id}: {len(player.welcomes) - before} streams at the new relay, nothing came")
        elif not is_over():
            self.times.setdefault(f"attached_after_{what}_s", []).append((player.welcomes[before] - listening_us) / 1e6)
            self.times.setdefault(f"streaming_after_{what}_s", []).append((player.fed_us - listening_us) / 1e6)


async def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    """Wait until `is_so` returns true; returns False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
