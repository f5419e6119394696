"""Seeded faults in a cluster: relays are killed, drained, upgraded, and partitioned from NATS; NATS servers are killed.

Measured, in seconds, for each affected device: from the fault (from its end for a partition or an absent NATS) to the first
payload published after it. This includes the backend's pause between two conversations.

    relay_killed_home_s   the relay that had the device was killed
    relay_killed_door_s   the relay of its publisher was killed
    drain_s               one of these two relays was drained, from SIGTERM on
    rolling_s             the same while all relays are restarted one after the other, the second one as a later version
    nats_killed_s         a NATS server was killed, of several
    nats_away_s           all NATS servers were away for 10 s
    partition_s           a relay was partitioned from NATS for 1 to 20 s, without a notice to other relays
    partition_local_s     the same for devices whose publisher is at the same relay: from its beginning, as it must not affect them
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from avatar_relay.publisher import Publisher
from tests.lab.chaos.faults import HUNG_S, PUBLISHERS_AWAY, LineFaults, within
from tests.lab.fault_proxy import WAYS, FaultProxy, Weather
from tests.lab.programs import Program
from tests.lab.relay_cluster import RelayCluster
from tests.lab.simulated_device import SimulatedDevice
from tests.lab.stamp import age_us, now_us, read_stamp

PARTED_S = (1.0, 20.0)
"""Range includes durations below and above a tunnel's silence limit and a publisher's lease."""
NATS_AWAY_S = 10.0
DOWN_S = (0.3, 2.0)
"""Delay before a killed process is restarted."""
STOP_S = 15.0
AWAY = {"relay_killed": 0.0, "drain": 0.0, "rolling": 0.0, "nats_killed": 0.0, "nats_away": 0.0, "partition": 0.0}


class ClientLines:
    """One client's connections to all relays."""

    def __init__(self, to: Mapping[str, FaultProxy]) -> None:
        """`to` holds a proxy for each relay, by name."""
        self._to = to
        self.hole = set[str]()
        """See `FaultProxy`."""
        for line in to.values():
            line.hole = self.hole

    @property
    def down(self) -> Weather:
        """See `FaultProxy`."""
        return next(iter(self._to.values())).down

    @down.setter
    def down(self, weather: Weather) -> None:
        for line in self._to.values():
            line.down = weather

    @property
    def dead(self) -> int:
        """See `FaultProxy`."""
        return sum(line.dead for line in self._to.values())

    @property
    def accepted(self) -> int:
        """Number of connections so far."""
        return sum(line.accepted for line in self._to.values())

    @property
    def addresses(self) -> list[str]:
        """The client's list of relay addresses."""
        return [line.address for line in self._to.values()]

    def leads_to(self, relay: str) -> bool:
        """Whether the client is connected to a relay."""
        return self._to[relay].open_connections > 0

    async def cut(self) -> None:
        """Break all connections."""
        await asyncio.gather(*(line.cut() for line in self._to.values()))

    async def reset(self) -> None:
        """… by RST."""
        await asyncio.gather(*(line.reset() for line in self._to.values()))

    async def stall(self, seconds: float) -> None:
        """Hold back all data for `seconds`."""
        await asyncio.gather(*(line.stall(seconds) for line in self._to.values()))


class LastSaid:
    """The publishing time of the newest payload that a device received."""

    def __init__(self) -> None:
        self._said_us = 0

    def take(self, data: bytes) -> None:
        """Record a received payload."""
        self._said_us = now_us() - age_us(read_stamp(data), now_us())

    def is_after(self, time_us: int) -> bool:
        """Whether a payload published after `time_us` was received."""
        return self._said_us > time_us


class ClusterFaults(LineFaults):
    """Injects faults into the relays of a cluster and their connections, one at a time, each after full recovery from the previous one."""

    publishers_away = PUBLISHERS_AWAY | AWAY

    def __init__(
        self,
        cluster: RelayCluster,
        devices: Sequence[SimulatedDevice],
        device_lines: Sequence[ClientLines],
        said: Sequence[LastSaid],
        publishers: Sequence[Publisher],
        publisher_lines: Sequence[ClientLines],
        chance: random.Random,
    ) -> None:
        """`said` holds the entry of each device."""
        super().__init__(devices, device_lines, publishers, publisher_lines, chance)
        self._cluster = cluster
        self._said = said
        self._homes, self._doors = device_lines, publisher_lines

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """See `LineFaults`."""
        several = {"nats_killed": self.nats_killed} if len(self._cluster.nats) > 1 else {}
        own = {"relay_killed": self.relay_killed, "drain": self.drain, "rolling": self.rolling}
        return super().kinds() | own | several | {"nats_away": self.nats_away, "partition": self.partition}

    async def relay_killed(self) -> None:
        """Kill a relay with SIGKILL; it is restarted a little later."""
        name, program = self._any_relay()
        homes, doors = self._of_home(name), self._of_door(name)
        began_us = now_us()
        program.kill()
        waits = [self._back("relay_killed_home_s", number, began_us) for number in homes]
        waits += [self._back("relay_killed_door_s", number, began_us) for number in doors - homes]
        await asyncio.gather(*waits, self._start_again(name))

    async def drain(self) -> None:
        """Send SIGTERM to a relay; it is restarted once it has ended."""
        await self._drain(self._any_relay()[0], "drain_s")

    async def rolling(self) -> None:
        """Do so with each relay in turn. The second one is of a later version from then on."""
        for number, name in enumerate(sorted(self._cluster.relays)):
            await self._drain(name, "rolling_s", "tests.lab.chaos.later_relay" if number == 1 else "relay_server")

    async def _drain(self, name: str, what: str, module: str = "relay_server") -> None:
        program = self._cluster.relays[name]
        concerned = self._of_home(name) | self._of_door(name)
        began_us = now_us()
        program.terminate()
        await asyncio.gather(*(self._back(what, number, began_us) for number in concerned), program.wait(STOP_S))
        await self._start_again(name, module)

    async def nats_killed(self) -> None:
        """Kill one of several NATS servers with SIGKILL."""
        number, began_us = self._chance.randrange(len(self._cluster.nats)), now_us()
        async with self._cluster.without_nats(number):
            waits = [self._back("nats_killed_s", device, began_us) for device in range(len(self._devices))]
            await asyncio.gather(*waits, asyncio.sleep(self._chance.uniform(*DOWN_S)))

    async def nats_away(self) -> None:
        """Kill all NATS servers with SIGKILL."""
        async with AsyncExitStack() as stack:
            for number in range(len(self._cluster.nats)):
                await stack.enter_async_context(self._cluster.without_nats(number))
            await asyncio.sleep(NATS_AWAY_S)
        healed_us = now_us()
        await asyncio.gather(*(self._back("nats_away_s", number, healed_us) for number in range(len(self._devices))))

    async def partition(self) -> None:
        """Drop all data between one relay and NATS, without an error."""
        name, _ = self._any_relay()
        lines, began_us = self._cluster.lines[name], now_us()
        for line in lines:
            line.hole.update(WAYS)
        here, from_here = self._of_home(name), self._of_door(name)
        local = [self._back("partition_local_s", number, began_us) for number in here & from_here]
        await asyncio.gather(*local, asyncio.sleep(self._chance.uniform(*PARTED_S)))
        for line in lines:
            line.hole.clear()
        healed_us = now_us()
        await asyncio.gather(*(self._back("partition_s", number, healed_us) for number in (here | from_here) - (here & from_here)))

    # --- affected devices ------------------------------------------------------------------------------------------

    def _any_relay(self) -> tuple[str, Program]:
        return self._chance.choice(sorted(self._cluster.relays.items()))

    def _of_home(self, relay: str) -> set[int]:
        """Devices attached to a relay."""
        return {number for number, line in enumerate(self._homes) if line.leads_to(relay)}

    def _of_door(self, relay: str) -> set[int]:
        """Devices whose publisher is at a relay."""
        return {number for number in range(len(self._devices)) if self._doors[number % len(self._doors)].leads_to(relay)}

    async def _start_again(self, name: str, module: str = "relay_server") -> None:
        await asyncio.sleep(self._chance.uniform(*DOWN_S))
        await self._cluster.start(name, module)

    async def _back(self, what: str, number: int, since_us: int) -> None:
        """Measure the time until a device receives a payload published from now on; skipped if another fault switched it off."""
        device = self._devices[number]
        player, said = device.player, self._said[number]
        if not await within(HUNG_S, lambda: device.player is not player or said.is_after(since_us)):
            self.hung.append(f"device {device.device_id}: {what}")
        elif device.player is player:
            self.times.setdefault(what, []).append((player.fed_us - since_us) / 1e6)
