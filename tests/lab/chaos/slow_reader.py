"""Measures the effect of a device that reads one byte per second, but otherwise behaves normally, on other devices and the relay.

    scripts/slow_reader --rounds 5 --seconds 20

Each round runs one relay with the slow reader, and one in which that device reads normally, in alternating order.
Prints JSON: the age of the others' payloads, how the relay ended the slow stream, its publisher's notifications, memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import grpc.aio

from avatar_relay.media import OnPlaying
from avatar_relay.messages import ConversationError
from avatar_relay.publisher import AvatarEvent, ConversationFinished, Publisher, PublisherError
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from avatar_relay.v1 import admin_service_pb2_grpc as admin_grpc
from edge_client.link import heartbeat
from tests.lab.chaos.fleet import Fleet
from tests.lab.chaos.fleet import read_options as fleet_options
from tests.lab.fault_proxy import FaultProxy, Weather
from tests.lab.history import History
from tests.lab.percentiles import percentiles
from tests.lab.restarted_programs import RelayProgram
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import AUDIO, Manner
from tests.lab.stamp import WEIGHTS, audio_payload, motion_payload, now_us
from tests.lab.tool import add_json_file, command_line, write_json

SLOW = Weather(bytes_per_s=1)
NAME = "reader"
LEASE_US = 5_000_000
"""Lease of a dropped device, after which its publisher is notified; the default is 30 s."""
SAMPLE_S = 0.25


class Reader:
    """The device that may read slowly, and its publisher."""

    def __init__(self, relay: RelayProgram, *, slow: bool) -> None:
        self._relay = relay
        self._slow = slow
        self.told: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.most_kib = 0

    async def run(self, seconds: float) -> None:
        """Publish to it for `seconds`."""
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(FaultProxy(self._relay.address))

            def slow_down(_: bytes) -> None:
                if self._slow:
                    proxy.down = SLOW

            device = SimulatedDevice(NAME, proxy.address, stack.enter_context(History()), random.Random(1), on_payload=slow_down)
            stack.push_async_callback(device.kill)
            watched = await stack.enter_async_context(grpc.aio.insecure_channel(self._relay.address))
            publisher = await stack.enter_async_context(Publisher.connect(self._relay.address))
            for work in (self._watch(watched), self._weigh()):
                stack.callback(asyncio.create_task(work).cancel)
            await until_attached([device])
            try:
                async with asyncio.timeout(seconds):
                    await self._speak(publisher)
            except TimeoutError:
                pass

    async def _speak(self, publisher: Publisher) -> None:
        """Publish in real time: 50 payloads of each kind per second, one in ten a 16 KB motion window."""
        avatar = publisher.avatar(NAME, audio_format=AUDIO, motion_format=Manner(weights=WEIGHTS).motion, on_playing=OnPlaying.QUEUE)
        avatar.subscribe(self._hear)
        while True:
            try:
                for at in range(200):
                    cid = await avatar.yield_audio_data(audio_payload(0, at, now_us()))
                    await avatar.yield_frames_data([motion_payload(0, at, now_us(), 220 * (75 if at % 10 == 0 else 1))], cid)
                    await asyncio.sleep(0.02)
                await avatar.yield_audio_data(b"", end=True)
            except PublisherError as error:
                self.told[f"verb: {type(error).__name__}"] += 1
                await asyncio.sleep(0.2)

    def _hear(self, event: AvatarEvent) -> None:
        match event:
            case ConversationError(fault=fault):
                self.told[fault.reason.value] += 1
            case ConversationFinished():
                self.told[f"finished: {event.reason}"] += 1

    async def _watch(self, channel: Any) -> None:
        """Record how the relay reports the end of the device's streams."""
        stub = admin_grpc.AdminServiceStub(channel)
        async for answer in stub.WatchEvents(admin_pb.WatchEventsRequest(device_ids=[NAME])):
            if answer.HasField("detached"):
                self.ended[answer.detached.reason] += 1

    async def _weigh(self) -> None:
        while True:
            self.most_kib = max(self.most_kib, self._relay.rss_kib())
            await asyncio.sleep(SAMPLE_S)


async def one(options: argparse.Namespace, *, slow: bool) -> dict[str, Any]:
    """Run a relay with the other devices and the reader."""
    setattr(heartbeat, "PEER_TIMEOUT_US", 3_600_000_000)  # noqa: B010 - mypy: not exported; the device never times out, so the relay has to end the stream
    relay = RelayProgram("--drain-grace-ms", "100", environment={"AVATAR_RELAY_DEVICE_LEASE_MS": str(LEASE_US // 1_000)})
    await relay.start()
    try:
        others = ["--devices", str(options.devices - 1), "--seconds", str(options.seconds), "--utterance-s", "4", "--pace"]
        fleet, reader = Fleet(relay.address, fleet_options([relay.address, *others])), Reader(relay, slow=slow)
        await asyncio.gather(fleet.run(), reader.run(options.seconds))
    finally:
        await relay.kill()
    return {
        "others_age_ms": {name: value / 1_000 for name, value in percentiles(fleet.ages_us).items()},
        "others_lost": fleet.verdict.lost,
        "streams_ended": dict(reader.ended),
        "publisher_told": dict(reader.told),
        "relay_most_mib": round(reader.most_kib / 1_024, 1),
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; returns the figures."""
    rounds: dict[str, list[dict[str, Any]]] = {"slow": [], "quick": []}
    for number in range(options.rounds):
        for name in ("slow", "quick") if number % 2 else ("quick", "slow"):
            rounds[name].append(await one(options, slow=name == "slow"))
            print(name, json.dumps(rounds[name][-1]), file=sys.stderr, flush=True)
    p99 = {name: median(one["others_age_ms"]["p99"] for one in figures) for name, figures in rounds.items()}
    most = {name: median(one["relay_most_mib"] for one in figures) for name, figures in rounds.items()}
    return {
        "load": round(os.getloadavg()[0], 2),
        "others_p99_ms": p99,
        "others_p99_shift_ms": round(p99["slow"] - p99["quick"], 2),
        "relay_most_mib": most,
        "memory_of_the_slow_one_mib": round(most["slow"] - most["quick"], 1),
        "rounds": rounds,
    }


def main() -> int:
    """The program; returns its exit status: 1 if another device lost a payload."""
    parser = command_line("slow_reader", __doc__)
    parser.add_argument("--devices", type=int, default=20, metavar="N", help="with the reader (default 20)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long a relay is used (default 20)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    add_json_file(parser)
    options = parser.parse_args()
    began = time.monotonic()
    figures = {"command": " ".join(sys.argv), **asyncio.run(run(options)), "seconds": round(time.monotonic() - began)}
    write_json(figures, options.json)
    return int(any(one["others_lost"] for name in ("slow", "quick") for one in figures["rounds"][name]))


if __name__ == "__main__":
    sys.exit(main())
