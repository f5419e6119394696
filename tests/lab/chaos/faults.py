"""Seeded fault injection: one fault after another, each with its recovery.

Measured, in seconds: from the start of a new relay's listening to each device's welcome (`attached_after_listening_s`) and to its next
payload (`streaming_after_listening_s`; `…_after_restart_s` if the old relay was drained and sent a retry hint); from the first byte
that a line drops until a device or publisher abandons its stream (`half_open_found_s`), and until it has a new one
(`half_open_back_s`; `half_open_idle_…` if it is a device without a conversation).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from avatar_relay.publisher import Publisher
from tests.lab.fault_proxy import CALM, WAYS, Weather
from tests.lab.restarted_programs import RelayProgram
from tests.lab.simulated_device import SimulatedDevice

HOLE_S = (1.2, 5.5)
"""How long a line drops everything: at most so long that the first attempt to reconnect is lost too."""
HOLES = (("up",), ("down",), WAYS)
HUNG_S = 30.0
"""A client that has not recovered this long after a fault counts as hung."""
POLL_S = 0.01

Check = Callable[[], bool]
PUBLISHERS_AWAY = {"publisher_cut": 2.0, "publisher_half_open": 12.0, "relay_killed": 0.0, "relay_restarted": 8.0}


class Line(Protocol):
    """A client's connection to its relay, or to each of its relays."""

    down: Weather
    hole: set[str]

    @property
    def dead(self) -> int:
        """See `FaultProxy`."""
        ...

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
        """Inject faults one after another until `stop` is set or `count` were injected; returns when all are over.

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
        """Drop everything in one direction or both of a device's link, without an error."""
        calm = [pair for pair in zip(self._devices, self._device_lines, strict=True) if pair[1] not in self._in_holes]
        if not calm:
            return
        device, line = self._chance.choice(calm)
        player, streams = device.player, len(device.player.welcomes)

        def has_gone() -> bool:
            return not device.link.status.attached or len(player.welcomes) > streams

        def is_back() -> bool:
            return device.player is not player or len(player.welcomes) > streams

        self.beside(self._half_open(f"device {device.device_id}", line, has_gone, is_back, is_idle=lambda: not player.cursors()))

    async def publisher_half_open(self) -> None:
        """The same for a publisher."""
        number = self._chance.randrange(len(self._publishers))
        publisher, line = self._publishers[number], self._publisher_lines[number]
        connections = line.accepted

        def has_gone() -> bool:
            return not publisher.is_connected or line.accepted > connections

        def is_back() -> bool:
            return publisher.is_connected and line.accepted > connections

        self.beside(self._half_open(f"publisher {number}", line, has_gone, is_back))

    async def _half_open(self, who: str, line: Line, has_gone: Check, is_back: Check, *, is_idle: Check = lambda: False) -> None:
        """Make the current connection half open, and measure, unless another fault ends the stream before it loses a byte."""
        ways, dead = self._chance.choice(HOLES), line.dead
        self._in_holes.add(line)
        hole = self.beside(drop(line, ways, self._chance.uniform(*HOLE_S)))
        if not await within(HUNG_S, lambda: line.dead > dead):
            self.hung.append(f"{who}: it sent and received nothing")
        elif not has_gone():
            began, what = time.monotonic(), "half_open_idle" if is_idle() else "half_open"
            for name, is_so in ((f"{what}_found_s", has_gone), (f"{what}_back_s", is_back)):
                if not await within(HUNG_S, is_so):
                    self.hung.append(f"{who}: {' and '.join(ways)} half open, {name}")
                    break
                self.times.setdefault(name, []).append(time.monotonic() - began)
        await hole
        self._in_holes.discard(line)

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
        line.down = weather
        await asyncio.sleep(seconds)
        line.down = CALM

    async def publisher_cut(self) -> None:
        """Close a publisher's connection."""
        await self._chance.choice(self._publisher_lines).cut()

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
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


async def drop(line: Line, ways: tuple[str, ...], seconds: float) -> None:
    """Make a line drop data for `seconds`, and until a connection lost some: one that lost nothing still works, and nobody could find it.

    Connections that lost data stay dead; later ones work.
    """
    dead = line.dead
    line.hole.update(ways)
    await asyncio.sleep(seconds)
    await within(HUNG_S, lambda: line.dead > dead)
    line.hole.clear()


async def within(seconds: float, is_so: Check) -> bool:
    """Wait until `is_so` returns true; returns False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
