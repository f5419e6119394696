"""Measures the effect of telemetry on media if the collector is healthy, absent, silent or slow.

    scripts/collectors --rounds 5 --seconds 20

Each round runs a separate relay and edge client for each collector, in rotating order; both export traces and metrics.
Prints JSON: the age of the payloads of a paced fleet, and the time that both programs took to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import Publisher
from tests.lab.chaos.fleet import Fleet
from tests.lab.chaos.fleet import read_options as fleet_options
from tests.lab.otlp import OtlpReceiver
from tests.lab.percentiles import percentiles
from tests.lab.programs import START_S, Program, attached, python, running
from tests.lab.restarted_programs import free_port
from tests.lab.tool import add_json_file, command_line, write_json

SLOW_S = 3.0
STOP_S = 20.0
EDGE = "edge"


@asynccontextmanager
async def answering(delay_s: float) -> AsyncIterator[str]:
    """A collector that accepts everything, and responds after `delay_s`."""
    async with OtlpReceiver(delay_s=delay_s) as receiver:
        yield receiver.endpoint


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A collector that accepts connections, but never responds."""
    held = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await held.wait()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        held.set()
        server.close()


@asynccontextmanager
async def away() -> AsyncIterator[str]:
    """An address at which nothing listens."""
    yield f"http://127.0.0.1:{free_port()}"


COLLECTORS: dict[str, Callable[[], AbstractAsyncContextManager[str]]] = {
    "well": lambda: answering(0.0),
    "away": away,
    "silent": silent,
    "slow": lambda: answering(SLOW_S),
}


async def one(options: argparse.Namespace, endpoint: str, folder: Path) -> dict[str, Any]:
    """Run a relay and an edge client that export to `endpoint`, loaded by a fleet."""
    environment = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "AVATAR_TRACE_EVERY": "10",
    }
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--drain-grace-ms", "500"]
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(running("relay", relay_command, folder / "relay.log", environment))
        address = (await relay.wait_for(r"listening on (\S+)", START_S))[1]
        edge_command = [*python("edge_client"), "--relay", address, "--device-id", EDGE, "--audio-sink", "virtual", "--renderer", "none"]
        edge = await stack.enter_async_context(running("edge", edge_command, folder / "edge.log", environment))
        async with asyncio.timeout(START_S):
            await attached(address, EDGE)
        arguments = [address, "--devices", str(options.devices), "--seconds", str(options.seconds), "--utterance-s", "2", "--pace"]
        fleet = Fleet(address, fleet_options(arguments))
        _, reason = await asyncio.gather(fleet.run(), _speak(address, options.seconds))
        stop_s = {program.name: await _stop(program) for program in (edge, relay)}
    return {
        "age_ms": {name: value / 1_000 for name, value in percentiles(fleet.ages_us).items()},
        "lost": fleet.verdict.lost,
        "edge_conversation": reason,
        "stop_s": stop_s,
    }


async def _speak(address: str, seconds: float) -> str:
    """Publish to the edge client for half the time; returns the outcome."""
    async with Publisher.connect(address) as publisher:
        avatar = publisher.avatar(EDGE, audio_format=AudioFormat(Codec.PCM_S16LE, 16_000))
        for _ in range(round(seconds / 2 * 10)):
            conversation_id = await avatar.yield_audio_data(bytes(3_200))
        await avatar.yield_audio_data(b"", end=True)
        async with asyncio.timeout(seconds + STOP_S):
            return str((await avatar.finished(conversation_id)).reason)


async def _stop(program: Program) -> float:
    began = time.monotonic()
    program.terminate()
    await program.wait(STOP_S)
    return round(time.monotonic() - began, 2)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; returns the figures."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in COLLECTORS}
    names = list(COLLECTORS)
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with tempfile.TemporaryDirectory() as folder:
                async with COLLECTORS[name]() as endpoint:
                    rounds[name].append(await one(options, endpoint, Path(folder)))
            print(name, json.dumps(rounds[name][-1]), file=sys.stderr, flush=True)
    p99 = {name: median(figures["age_ms"]["p99"] for figures in found) for name, found in rounds.items()}
    return {
        "load": round(os.getloadavg()[0], 2),
        "p99_ms": p99,
        "p99_shift_ms": {name: round(value - p99["well"], 2) for name, value in p99.items() if name != "well"},
        "longest_stop_s": {name: max(max(figures["stop_s"].values()) for figures in found) for name, found in rounds.items()},
        "rounds": rounds,
    }


def main() -> int:
    """The program; returns its exit status: 1 if a payload was lost."""
    parser = command_line("collectors", __doc__)
    parser.add_argument("--devices", type=int, default=10, metavar="N", help="default 10")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long each pair is used (default 20)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    add_json_file(parser)
    options = parser.parse_args()
    figures = {"command": " ".join(sys.argv), **asyncio.run(run(options))}
    write_json(figures, options.json)
    return int(any(one["lost"] for found in figures["rounds"].values() for one in found))


if __name__ == "__main__":
    sys.exit(main())
