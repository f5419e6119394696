"""Many simulated devices and publishers on a running relay; no sound, no face.

A session is one device to which one publisher sends conversation after conversation. Sent and received payloads are compared, and a
summary is printed as JSON. Exits with 1 if a payload was lost, duplicated, altered or out of order, or a conversation has no end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from avatar_relay.publisher import Publisher
from tests.lab.fault_proxy import FaultProxy, Weather
from tests.lab.history import History, Verdict
from tests.lab.percentiles import percentiles
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker
from tests.lab.stamp import AUDIO_BYTES, WEIGHTS, age_us, now_us, read_stamp
from tests.lab.tool import add_json_file, command_line, write_json

MAX_AGES = 200_000
DRAIN_S = 20.0
PAYLOADS_PER_S = 50
"""Payloads of each kind per second of speech."""


class Fleet:
    """Devices, publishers and their history; `verdict` is set once `run` has returned."""

    def __init__(self, address: str, options: argparse.Namespace) -> None:
        self.devices: list[SimulatedDevice] = []
        self.speakers: list[Speaker] = []
        self.verdict = Verdict()
        self.ages_us: deque[int] = deque(maxlen=MAX_AGES)
        self._address = address
        self._options = options
        self._chance = random.Random(options.seed)
        self._lines: list[FaultProxy] = []

    async def run(self) -> None:
        """Attach all devices, publish for the requested time, and wait until everything was received."""
        options = self._options
        count = round(options.utterance_s * PAYLOADS_PER_S)
        manner = Manner(
            payloads_per_s=PAYLOADS_PER_S if options.pace else 0,
            shortest=count,
            longest=count,
            interrupted_share=0,
            queued_share=0,
            finished_within_s=options.seconds + DRAIN_S,
            audio_bytes=(200, AUDIO_BYTES),
            weights=WEIGHTS,
            large_one_in=40,
        )
        async with AsyncExitStack() as stack:
            history = stack.enter_context(History())
            await self._attach(stack, history)
            publishers = [await stack.enter_async_context(Publisher.connect(self._address)) for _ in range(options.publishers)]
            self.speakers = [
                Speaker(
                    number, publishers[number % len(publishers)], device.device_id, history, random.Random(options.seed + number), manner
                )
                for number, device in enumerate(self.devices[: options.sessions])
            ]
            for work in (self._print_progress(), self._cut_now_and_then()):
                stack.callback(asyncio.create_task(work).cancel)
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(options.seconds, stop.set)
            async with asyncio.TaskGroup() as speaking:
                for speaker in self.speakers:
                    speaking.create_task(speaker.run(stop))
            self.verdict = history.check()

    async def _attach(self, stack: AsyncExitStack, history: History) -> None:
        options = self._options
        for number in range(options.devices):
            address = self._address
            if number < options.slow_readers or options.cut_every_s:
                line = await stack.enter_async_context(FaultProxy(address, seed=number))
                self._lines.append(line)
                address = line.address
            device = SimulatedDevice(f"fleet-{number}", address, history, random.Random(number), on_payload=self._note_age)
            self.devices.append(device)
            stack.push_async_callback(device.kill)
        await until_attached(self.devices)
        for line in self._lines[: options.slow_readers]:
            line.down = Weather(bytes_per_s=options.slow_reader_bytes_per_s)

    def _note_age(self, data: bytes) -> None:
        self.ages_us.append(age_us(read_stamp(data), now_us()))

    async def _cut_now_and_then(self) -> None:
        while self._options.cut_every_s:
            await asyncio.sleep(self._options.cut_every_s)
            await self._chance.choice(self._lines).cut()

    async def _print_progress(self) -> None:
        before, came_before = time.monotonic(), 0
        while True:
            await asyncio.sleep(1)
            came, now = sum(device.player.counts.payloads for device in self.devices), time.monotonic()
            attached = sum(device.link.status.attached for device in self.devices)
            age = percentiles(list(self.ages_us)[-5_000:])
            print(
                f"attached {attached:5}  published {self.published:8}  came {came:8}  {(came - came_before) / (now - before):8.0f}/s  "
                f"p50 {age['p50'] / 1e3:7.1f} ms  p99 {age['p99'] / 1e3:7.1f} ms",
                file=sys.stderr,
                flush=True,
            )
            before, came_before = now, came

    @property
    def published(self) -> int:
        """Number of payloads sent so far."""
        return sum(speaker.payloads for speaker in self.speakers)

    def summary(self) -> dict[str, Any]:
        """All figures."""
        counts = [asdict(device.player.counts) for device in self.devices]
        return {
            "devices": len(self.devices),
            "published": self.published,
            **{name: sum(one[name] for one in counts) for name in counts[0]},
            "age_ms": {name: value / 1_000 for name, value in percentiles(self.ages_us).items()},
            "violations": self.verdict.violations,
            "history": self.verdict.figures,
        }


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command_line("fleet", __doc__)
    parser.add_argument("address", metavar="HOST:PORT", help="a relay that listens")
    parser.add_argument("--devices", type=int, default=20, help="default: 20")
    parser.add_argument("--sessions", type=int, help="devices that are spoken to; default: all")
    parser.add_argument("--publishers", type=int, default=1, help="default: 1")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long new conversations begin; default: 10")
    parser.add_argument("--utterance-s", type=float, default=4.0, help="length of a conversation; default: 4")
    parser.add_argument("--pace", action="store_true", help="speak in real time; otherwise whole utterances at once")
    parser.add_argument("--slow-readers", type=int, default=0, help="the first so many devices read slowly")
    parser.add_argument("--slow-reader-bytes-per-s", type=float, default=2_000.0, help="what a slow reader reads; default: 2000")
    parser.add_argument("--cut-every-s", type=float, default=0.0, help="break a random device's connection this often")
    parser.add_argument("--seed", type=int, default=1)
    add_json_file(parser)
    options = parser.parse_args(argv)
    options.sessions = options.devices if options.sessions is None else options.sessions
    return options


async def simulate(options: argparse.Namespace) -> dict[str, Any]:
    """Run the simulation; returns the summary."""
    fleet = Fleet(options.address, options)
    await fleet.run()
    return fleet.summary()


def main() -> int:
    """The command; returns its exit status."""
    options = read_options()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)  # one connection per device
    summary = asyncio.run(simulate(options))
    write_json(summary, options.json)
    return int(summary["violations"] > 0)


if __name__ == "__main__":
    sys.exit(main())
