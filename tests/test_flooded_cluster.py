"""A conversation between two relays, as programs with a NATS server, while strangers flood the port of links of one of them."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from avatar_relay.publisher import Publisher
from relay_server.access.refusal_log import LINES_PER_MINUTE
from relay_server.links.socket_links import MAX_UNPROVED
from tests.lab.history import History
from tests.lab.relay_cluster import NATS, RelayCluster
from tests.lab.restarted_programs import resident_kib
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker
from tests.relay_server.links.test_flood import strangers

MAX_GROWTH_MIB, MAX_DESCRIPTORS = 16, MAX_UNPROVED + 32
"""What the flood may add to the relay's memory and descriptors; 32 descriptors are for the link and for connections about to be closed."""
SPEAK_S = 6.0


def sockets_of(pid: int) -> list[str]:
    """The inodes of a process's sockets, one for each descriptor."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return [link[8:-1] for link in found if link.startswith("socket:[")]


def ports_of(pid: int) -> set[int]:
    """The ports at which a process listens, by IPv4."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in sockets_of(pid)}


@pytest.mark.slow
@pytest.mark.skipif(NATS is None, reason="Debian's package nats-server is not installed")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["silent", "garbage", "slow", "half-closed"])
async def test_a_flood_at_the_port_of_links(tmp_path: Path, kind: str) -> None:
    """The link opens and carries the conversation, NATS does not; the relay's memory, descriptors and log stay small."""
    async with asyncio.timeout(100), RelayCluster(tmp_path, with_links=True) as cluster:
        door, home = await cluster.start("door"), await cluster.start("home")
        relay = cluster.relays["home"]
        (port,) = ports_of(relay.pid) - {int(home.rpartition(":")[2])}
        with History() as history:
            device = SimulatedDevice("lobby", home, history, random.Random(1))
            await until_attached([device])
            before, most = (resident_kib(relay.pid), len(sockets_of(relay.pid))), (0, 0)
            async with strangers("127.0.0.1", port, kind), Publisher.connect(door) as publisher:
                stop = asyncio.Event()
                speaker = Speaker(1, publisher, "lobby", history, random.Random(2), Manner(shortest=100, longest=300))
                asyncio.get_running_loop().call_later(SPEAK_S, stop.set)
                speaking = asyncio.create_task(speaker.run(stop))
                while not speaking.done():
                    now = resident_kib(relay.pid), len(sockets_of(relay.pid))
                    most = max(most[0], now[0]), max(most[1], now[1])
                    await asyncio.wait([speaking], timeout=0.1)
                await speaking
            verdict = history.check()
            await device.kill()
        assert "cannot be reached directly" not in cluster.relays["door"].said()
        assert relay.said().count("of another relay from 127.0.0.1 is refused") in range(1, 2 * LINES_PER_MINUTE + 1)
    assert verdict.violations == 0, verdict.told
    assert verdict.outcomes["completed"] >= 2, verdict.outcomes
    assert most[0] - before[0] <= MAX_GROWTH_MIB << 10, (before, most)
    assert most[1] - before[1] <= MAX_DESCRIPTORS, (before, most)
