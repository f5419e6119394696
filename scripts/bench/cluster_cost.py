"""The cost of a payload if publisher and device are at different relays: CPU of relays and NATS, and additional latency.

    scripts/bench/cluster --sessions 40 --seconds 10 --rounds 5
    scripts/bench/cluster --nats

Rounds alternate: all publishers and devices at one relay without a cluster (local), and publishers at one relay, devices at another one
(cross), which have direct connections, unless `--nats` is set. With `--workers N` all connect to one address shared by N workers, at random
(cross), and a third kind has N relays without a cluster, each with its part of the pairs (apart): what is left if nothing crosses. Each
session is a publisher with its own stream (`--joined`: one publisher for all) that sends 40 payloads of each kind per second to its own
device. CPU is the kernel's count for the programs; its ratios to local are those of the rounds (median, least and most). Latency is
measured from the call of the library to reception by the device; it includes this program's own time, equally in all rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from avatar_relay.publisher import Publisher
from scripts.bench.load import cpu_clock
from tests.lab.history import History
from tests.lab.programs import python, running
from tests.lab.relay_cluster import START_S, RelayCluster
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker
from tests.lab.stamp import age_us, now_us, read_stamp
from tests.lab.tool import add_out_folder, command_line, write_json

MANNER = Manner(
    payloads_per_s=40, shortest=100_000, longest=100_000, interrupted_share=0, queued_share=0, audio_bytes=(700, 701), weights=55
)
Once = Callable[[argparse.Namespace, Path], Awaitable[dict[str, float]]]


class Ages:
    """Ages of payloads on reception, in ms."""

    def __init__(self) -> None:
        self.ms: list[float] = []

    def take(self, data: bytes) -> None:
        """Record a received payload."""
        self.ms.append(age_us(read_stamp(data), now_us()) / 1_000)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, by the kernel's count."""
    return time.clock_gettime(cpu_clock(pid))


def children(pid: int) -> list[int]:
    """Ids of a process's child processes."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def measure(options: argparse.Namespace, doors: Sequence[str], homes: Sequence[str], pids: list[int]) -> dict[str, float]:
    """Measure one round. Publishers and devices use these relays in turn."""
    async with AsyncExitStack() as stack:
        history, ages = stack.enter_context(History()), Ages()
        devices = [
            SimulatedDevice(f"d{n}", homes[n % len(homes)], history, random.Random(n), on_payload=ages.take)
            for n in range(options.sessions)
        ]
        await until_attached(devices)
        count = 1 if options.joined else options.sessions
        publishers = [await stack.enter_async_context(Publisher.connect(doors[n % len(doors)])) for n in range(count)]
        speakers = [
            Speaker(n, publishers[n % count], device.device_id, history, random.Random(n), MANNER) for n, device in enumerate(devices)
        ]
        tasks = [asyncio.create_task(speaker.run(asyncio.Event())) for speaker in speakers]
        await asyncio.sleep(2.0)
        ages.ms.clear()
        shares = [cpu_s(pid) for pid in pids]
        await asyncio.sleep(options.seconds)
        used = [cpu_s(pid) - before for pid, before in zip(pids, shares, strict=True)]
        times = sorted(ages.ms)
        for task in tasks:
            task.cancel()
        for device in devices:
            await device.kill()
    cuts = statistics.quantiles(times, n=100)
    return {
        "payloads": len(times),
        "cpu_us_a_payload": round(sum(used) / len(times) * 1e6, 1),
        "largest_share": round(max(used) / sum(used), 3),
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(cuts[98], 2),
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; returns the summary."""
    kinds: dict[str, Once] = {"local": partial(_apart, relays=1), "cross": _cross if options.workers == 1 else _workers}
    if options.workers > 1 and not options.joined:
        kinds["apart"] = partial(_apart, relays=options.workers)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, once in kinds.items():
                rounds[name].append(await once(options, Path(folder)))
    medians = {name: _median(found) for name, found in rounds.items()}
    local, cross = medians["local"], medians["cross"]
    return {
        "command": " ".join(sys.argv),
        **rounds,
        **{f"cpu_ratio_{name}": _ratios(found, rounds["local"]) for name, found in rounds.items() if name != "local"},
        "added_p50_ms": round(cross["p50_ms"] - local["p50_ms"], 2),
        "added_p99_ms": round(cross["p99_ms"] - local["p99_ms"], 2),
    }


async def _cross(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    async with RelayCluster(folder, with_links=not options.nats) as cluster:
        door, home = await cluster.start("door"), await cluster.start("home")
        return await measure(options, [door], [home], [cluster.relays["door"].pid, cluster.relays["home"].pid, cluster.nats[0].pid])


async def _workers(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--workers", str(options.workers)]
    async with running("relay", command, folder / "workers.log", {}) as program:
        address = (await program.wait_for(r"listening on (\S+)", START_S))[1]
        return await measure(options, [address], [address], children(program.pid))


async def _apart(options: argparse.Namespace, folder: Path, relays: int) -> dict[str, float]:
    command = [*python("relay_server"), "--listen", "127.0.0.1:0"]
    async with AsyncExitStack() as stack:
        programs = [await stack.enter_async_context(running(f"relay-{n}", command, folder / f"{n}.log", {})) for n in range(relays)]
        addresses = [(await program.wait_for(r"listening on (\S+)", START_S))[1] for program in programs]
        return await measure(options, addresses, addresses, [program.pid for program in programs])


def _ratios(found: list[dict[str, float]], local: list[dict[str, float]]) -> dict[str, float]:
    ratios = [one["cpu_us_a_payload"] / other["cpu_us_a_payload"] for one, other in zip(found, local, strict=True)]
    return {name: round(value, 2) for name, value in (("median", statistics.median(ratios)), ("least", min(ratios)), ("most", max(ratios)))}


def _median(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def main() -> int:
    """Run the program; returns its exit status."""
    parser = command_line("bench/cluster", __doc__)
    parser.add_argument("--sessions", type=int, default=40, metavar="N", help="devices, each with its publisher (default 40)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each round (default 10)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each kind (default 5)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="compare one relay with so many workers")
    parser.add_argument("--joined", action="store_true", help="one publisher for all devices")
    parser.add_argument("--nats", action="store_true", help="relays have no direct connections: all goes through NATS")
    add_out_folder(parser, "bench-cluster")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    summary = asyncio.run(run(options))
    write_json(summary, options.out / "summary.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
