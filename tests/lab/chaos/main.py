"""Runs devices, publishers and a relay under seeded faults, then checks the history against the guarantees.

    scripts/chaos --payloads 1000000 --seed 1 --out build/chaos
    scripts/chaos --seconds 60 --only relay_killed,device_cut
    scripts/chaos --only relay_killed --troubles 100 --one-by-one --devices 4 --rate 100
    scripts/chaos --relays 3 --nats 3 --only relay_killed,nats_killed,partition,drain --troubles 20
    scripts/chaos --relays 3 --only rolling --troubles 1 --devices 20 --rate 50

Each relay is a separate process. Each device uses the edge client's link and outbox with a player that records received data;
each publisher uses the publisher library. All connections pass through proxies that degrade the network.
Writes history.tsv and summary.json to the folder; exits with 1 if a guarantee was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from avatar_relay.publisher import Publisher
from tests.lab.chaos.cluster_faults import ClientLines, ClusterFaults, LastSaid
from tests.lab.chaos.faults import Faults, LineFaults
from tests.lab.fault_proxy import FaultProxy
from tests.lab.history import History, Verdict
from tests.lab.percentiles import seconds as seconds_of
from tests.lab.relay_cluster import RelayCluster
from tests.lab.restarted_programs import RelayProgram
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker
from tests.lab.tool import add_out_folder, command_line, write_json

DRAIN_GRACE_MS = 2_000
PROMISED_S = {
    "streaming_after_listening_s": 1.0,
    "half_open_found_s": 5.0,
    "half_open_back_s": 7.0,
    "half_open_idle_found_s": 15.0,
    "half_open_idle_back_s": 17.0,
    "relay_killed_home_s": 2.0,
    "relay_killed_door_s": 2.0,
    "nats_killed_s": 3.0,
}
"""95th-percentile limits on an idle machine. `kept` reports whether they were met; the exit status does not depend on them."""
SETTLE_S = 90.0
"""Maximum seconds for conversations to end after the last fault, besides their length."""


def main() -> int:
    """The program; returns its exit status."""
    options = _parser().parse_args()
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    summary = asyncio.run(run(options))
    write_json(summary, options.out / "summary.json")
    return 1 if summary["violations"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line("chaos", __doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same troubles in the same order (default 1)")
    parser.add_argument("--payloads", type=int, default=0, metavar="N", help="end after so many payloads; 0: by time")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="end after so long, where no number is said (default 60)")
    parser.add_argument("--devices", type=int, default=12, metavar="N", help="default 12")
    parser.add_argument("--publishers", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--relays", type=int, default=1, metavar="N", help="more than one are a cluster, and need nats-server (default 1)")
    parser.add_argument("--nats", type=int, default=1, metavar="N", help="NATS servers of a cluster (default 1)")
    parser.add_argument("--links", action="store_true", help="relays of a cluster have direct connections")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="a trouble every so many seconds on average (default 1)")
    parser.add_argument("--rate", type=float, default=400.0, metavar="N", help="payloads a second of each kind and device (default 400)")
    parser.add_argument("--troubles", type=int, default=0, metavar="N", help="end after so many troubles; 0: by payloads or time")
    parser.add_argument("--one-by-one", action="store_true", help="a trouble comes when everybody is back from the last one")
    parser.add_argument("--only", default="", metavar="NAME,…", help="these troubles only (default: all)")
    add_out_folder(parser, "chaos")
    parser.add_argument("--log-level", default="error")
    return parser


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; returns the summary."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History(options.out / "history.tsv"))
        stage = await (_one_relay if options.relays == 1 else _cluster)(options, stack, history)
        for device in stage.devices:
            stack.push_async_callback(device.kill)
        await until_attached(stage.devices)
        manner = Manner(payloads_per_s=options.rate, finished_within_s=_settles_within_s(options))
        speakers = [
            Speaker(n, publishers_of(stage, n), device.device_id, history, random.Random(options.seed * 2_000 + n), manner)
            for n, device in enumerate(stage.devices)
        ]
        await _trouble(options, speakers, stage.faults)
        verdict = history.check()
    return _summary(options, verdict, stage.faults, time.monotonic() - began)


def _settles_within_s(options: argparse.Namespace) -> float:
    return SETTLE_S + Manner().longest / (options.rate or float("inf"))


@dataclass(frozen=True, slots=True)
class Stage:
    """All running devices, publishers, proxies and relays."""

    devices: list[SimulatedDevice]
    publishers: list[Publisher]
    faults: LineFaults


def publishers_of(stage: Stage, number: int) -> Publisher:
    """The publisher of a device."""
    return stage.publishers[number % len(stage.publishers)]


async def _publisher(stack: AsyncExitStack, address: str | Sequence[str], number: int) -> Publisher:
    """Connect a publisher; every second one has a media tick."""
    return await stack.enter_async_context(Publisher.connect(address, media_tick_us=10_000 * (number % 2)))


async def _one_relay(options: argparse.Namespace, stack: AsyncExitStack, history: History) -> Stage:
    relay = RelayProgram("--drain-grace-ms", str(DRAIN_GRACE_MS))
    await relay.start()
    stack.push_async_callback(relay.kill)
    device_lines = [await stack.enter_async_context(FaultProxy(relay.address, seed=n)) for n in range(options.devices)]
    devices = [
        SimulatedDevice(f"d{n}", line.address, history, random.Random(options.seed * 1_000 + n)) for n, line in enumerate(device_lines)
    ]
    publisher_lines = [await stack.enter_async_context(FaultProxy(relay.address, seed=n)) for n in range(options.publishers)]
    publishers = [await _publisher(stack, line.address, n) for n, line in enumerate(publisher_lines)]
    return Stage(devices, publishers, Faults(relay, devices, device_lines, publishers, publisher_lines, random.Random(options.seed)))


async def _cluster(options: argparse.Namespace, stack: AsyncExitStack, history: History) -> Stage:
    """Start relays r1, r2 … that share NATS servers; each client has a list of all relays, and starts with any of them."""
    cluster = RelayCluster(
        options.out, "--drain-grace-ms", str(DRAIN_GRACE_MS), nats_servers=options.nats, with_lines=True, with_links=options.links
    )
    await stack.enter_async_context(cluster)
    addresses = {name: await cluster.start(name) for name in [f"r{number}" for number in range(1, options.relays + 1)]}

    async def lines(seed: int) -> ClientLines:
        return ClientLines({name: await stack.enter_async_context(FaultProxy(to, seed=seed)) for name, to in addresses.items()})

    said = [LastSaid() for _ in range(options.devices)]
    device_lines, devices = [await lines(n) for n in range(options.devices)], []
    for n, line in enumerate(device_lines):
        first, *others = line.addresses
        chance = random.Random(options.seed * 1_000 + n)
        devices.append(SimulatedDevice(f"d{n}", first, history, chance, on_payload=said[n].take, others=tuple(others)))
    publisher_lines = [await lines(n) for n in range(options.publishers)]
    publishers = [await _publisher(stack, line.addresses, n) for n, line in enumerate(publisher_lines)]
    chance = random.Random(options.seed)
    return Stage(devices, publishers, ClusterFaults(cluster, devices, device_lines, said, publishers, publisher_lines, chance))


async def _trouble(options: argparse.Namespace, speakers: list[Speaker], faults: LineFaults) -> None:
    stop_faults, stop_speaking = asyncio.Event(), asyncio.Event()
    names = [name for name in options.only.split(",") if name] or list(faults.kinds())
    speaking = [asyncio.create_task(speaker.run(stop_speaking)) for speaker in speakers]
    troubling = asyncio.create_task(faults.run(stop_faults, names, options.every, count=options.troubles, one_by_one=options.one_by_one))
    began = time.monotonic()

    def is_enough() -> bool:
        if options.troubles:
            return False
        spoken = sum(speaker.payloads for speaker in speakers)
        return bool(spoken >= options.payloads if options.payloads else time.monotonic() - began >= options.seconds)

    while not is_enough() and not troubling.done():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.1)
    stop_faults.set()
    await troubling
    stop_speaking.set()
    await asyncio.wait(speaking, timeout=_settles_within_s(options))


def _summary(options: argparse.Namespace, verdict: Verdict, faults: LineFaults, seconds: float) -> dict[str, Any]:
    times: dict[str, dict[str, Any]] = {name: dict(seconds_of(values)) for name, values in faults.times.items()}
    for name, promised in PROMISED_S.items():
        if name in times:
            times[name] |= {"promised_p95": promised, "kept": times[name]["p95"] <= promised}
    return {
        "command": " ".join(sys.argv),
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "violations": verdict.violations + len(faults.hung),
        "hung": faults.hung,
        **verdict.figures,
        "faults": dict(faults.counts),
        "times": times,
    }


if __name__ == "__main__":
    sys.exit(main())
