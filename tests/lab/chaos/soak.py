"""Runs a relay under ordinary load for a long time, and checks for growth.

    scripts/soak --minutes 30 --sessions 20
    scripts/soak --minutes 480            # by hand, overnight

The load is conversations, interrupts, and streams cancelled before and after their welcome. Every few seconds the relay's resident
memory, the interpreter's memory blocks, descriptors, threads and tasks are sampled; the slope is that of a straight line fitted to
the resident memory after the warm-up. All conversations are checked against the guarantees of `history`. Writes samples.tsv, history.tsv
and summary.json, which is printed with the verdict; exits with 1 if something grew or a guarantee was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from avatar_relay.publisher import Publisher
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import device_service_pb2_grpc as device_stubs
from tests.lab.chaos import tapped_relay
from tests.lab.history import History, Verdict
from tests.lab.restarted_programs import RelayProgram
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker
from tests.lab.tool import add_out_folder, command_line, write_json

SETTLE_S = 30.0
MAX_SLOPE_MB_PER_H = 4.0
MAX_MORE = {"descriptors": 8, "threads": 0, "pool_threads": 2, "tasks": 24}
"""Permitted growth from the first to the last minute, by medians: streams are opened and cancelled while sampling, and their number
varies with the machine's load; so does gRPC's pool, which starts a thread when all of its threads are busy."""
MEDIAN_OF_S = 60.0
POOL = "event_engine"
"""Thread name of gRPC's pool."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The relay at one instant."""

    seconds: float
    rss_kib: int
    blocks: int
    """Memory blocks that the interpreter has allocated to objects."""
    descriptors: int
    threads: int
    """Number of threads, without gRPC's pool."""
    pool_threads: int
    tasks: int


class TappedRelay(RelayProgram):
    """A relay that writes internal figures to the file `tap`."""

    def __init__(self, tap: Path) -> None:
        super().__init__(module=tapped_relay.__name__, environment={tapped_relay.TAP: str(tap)})
        self._tap = tap

    async def look(self, seconds: float) -> Sample | None:
        """Take a sample; returns None if the relay did not respond in time."""
        if (tapped := await tapped_relay.look(self.pid, self._tap)) is None:
            return None
        names = self.threads()
        pool = names.count(POOL)
        return Sample(round(seconds, 1), self.rss_kib(), tapped.blocks, self.descriptors(), len(names) - pool, pool, tapped.tasks)


def main() -> int:
    """The program; returns its exit status."""
    parser = command_line("soak", __doc__)
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="default 30")
    parser.add_argument("--warm-up", type=float, default=10.0, metavar="M", help="minutes that do not count for the slope (default 10)")
    parser.add_argument("--sessions", type=int, default=20, metavar="N", help="default 20")
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="payloads a second of each kind and session (default 50)")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="seconds between two looks (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    add_out_folder(parser, "soak")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    summary = asyncio.run(run(options))
    write_json(summary, options.out / "summary.json")
    return 1 if summary["failed"] else 0


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; returns the summary."""
    relay, samples, stop = TappedRelay(options.out.absolute() / "tap"), list[Sample](), asyncio.Event()
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History(options.out / "history.tsv"))
        await relay.start()
        stack.push_async_callback(relay.kill)
        devices = [SimulatedDevice(f"d{n}", relay.address, history, random.Random(n)) for n in range(options.sessions)]
        for device in devices:
            stack.push_async_callback(device.kill)
        await until_attached(devices)
        publisher = await stack.enter_async_context(Publisher.connect(relay.address))
        manner = Manner(payloads_per_s=options.rate, shortest=50, longest=500, interrupted_share=0.2)
        speakers = [
            Speaker(n, publisher, device.device_id, history, random.Random(options.seed + n), manner) for n, device in enumerate(devices)
        ]
        speaking = [asyncio.create_task(speaker.run(stop)) for speaker in speakers]
        cancelling = asyncio.create_task(_cancel_streams(relay.address, stop))
        samples = await _watch(relay, options.minutes * 60, options.every)
        stop.set()
        cancelled = await cancelling
        await asyncio.wait(speaking, timeout=SETTLE_S)
        verdict = history.check()
    return _summary(options, samples, verdict, cancelled)


async def _cancel_streams(address: str, stop: asyncio.Event) -> int:
    """Open and cancel streams, as devices that are switched off: alternately at once, and on the welcome."""
    count = 0
    async with grpc.aio.insecure_channel(address) as channel:
        while not stop.is_set():
            call: Any = device_stubs.DeviceServiceStub(channel).Attach()
            hello = device_pb.Hello(device_id=f"passer-by-{count % 5}", protocol_version=1)
            with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
                await call.write(device_pb.AttachRequest(hello=hello))
                if count % 2:
                    await call.read()
            call.cancel()
            count += 1
            await asyncio.sleep(0.1)
    return count


async def _watch(relay: TappedRelay, seconds: float, every_s: float) -> list[Sample]:
    began, samples = time.monotonic(), list[Sample]()
    while (now := time.monotonic() - began) < seconds:
        if (sample := await relay.look(now)) is not None:
            samples.append(sample)
        await asyncio.sleep(min(every_s, seconds - now))
    return samples


def slope_mb_per_h(samples: list[Sample]) -> float:
    """Slope of a straight line fitted to the resident memory of these samples."""
    if len(samples) < 2:
        return 0.0
    kib_per_s = np.polyfit([sample.seconds for sample in samples], [sample.rss_kib for sample in samples], 1)[0]
    return round(float(kib_per_s) * 3_600 * 1_024 / 1e6, 2)


def _more(name: str, samples: list[Sample]) -> float:
    """Growth of a figure from the first to the last minute."""
    begin, end = samples[0].seconds + MEDIAN_OF_S, samples[-1].seconds - MEDIAN_OF_S
    first, last = (
        [getattr(sample, name) for sample in samples if sample.seconds <= begin],
        [getattr(sample, name) for sample in samples if sample.seconds >= end],
    )
    return float(np.median(last) - np.median(first))


def _summary(options: argparse.Namespace, samples: list[Sample], verdict: Verdict, cancelled: int) -> dict[str, Any]:
    names = [field.name for field in fields(Sample)]
    rows = ["\t".join(names), *("\t".join(str(getattr(sample, name)) for name in names) for sample in samples)]
    (options.out / "samples.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    warm = [sample for sample in samples if sample.seconds >= options.warm_up * 60] or samples[-1:]
    more = {name: _more(name, warm) for name in MAX_MORE}
    slope = slope_mb_per_h(warm)
    grew = [name for name, limit in MAX_MORE.items() if more[name] > limit]
    if options.minutes > options.warm_up and slope > MAX_SLOPE_MB_PER_H:
        grew.append("memory")
    return {
        "command": " ".join(sys.argv),
        "minutes": options.minutes,
        "failed": bool(verdict.violations or grew),
        "grew": grew,
        "slope_mb_per_h": slope,
        "slope_counts_after_minutes": options.warm_up,
        "rss_mib": {"first": samples[0].rss_kib >> 10, "last": samples[-1].rss_kib >> 10},
        "blocks": {"first": warm[0].blocks, "last": warm[-1].blocks},
        "more": more,
        "cancelled_streams": cancelled,
        **verdict.figures,
    }


if __name__ == "__main__":
    sys.exit(main())
