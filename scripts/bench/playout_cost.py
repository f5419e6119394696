"""`scripts/bench/playout`: the cost of receiving, decoding and scheduling 80 payloads per second, and of the speaker process.

Each round starts a new player, waits for its warm-up, and reads the kernel's CPU time of its processes over the measured interval, and
their PSS at its end. Rounds of the players alternate, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, Pacing
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import device_service_pb2_grpc as device_rpc
from avatar_relay.v1 import media_pb2 as media_pb
from relay_server.sources.source import AudioChunk, MotionChunk, Performance
from scripts.bench.bare_player import RATE_HZ
from scripts.bench.load import cpu_clock
from tests.lab.ground_truth.station import Setup, station
from tests.lab.programs import ProgramError, python, running, stop_on_signals
from tests.lab.sound_card.paced_card import PacedDevice, build_library

AUDIO_PER_S, MOTION_PER_S = 50, 30
WARM_UP_S = 2.5
TICK_MS = 10
LONG_S = 600.0
"""Running time of the peer's server unless it is stopped."""
LIMIT_PERCENT = 5.0
"""Limit of our own cost, in per cent of a core: the cost of a bare player in the same rounds is subtracted."""
PLAYERS = {
    "edge-client": "ours: relay, flow control, jitter buffer, resampling to 48 kHz, motion track, clock, reports; no face is drawn",
    "joined": "the same, but the relay joins payloads that arrive within 10 ms (`--media-tick-ms 10`)",
    "bare": "the peer: grpc.aio reader, one payload in a message, blocking writes into PyAudio; see scripts/bench/bare_player.py",
}
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, float(MOTION_PER_S), ARKIT_NAMES)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one process, or the sum of several."""

    cpu_percent: float
    """CPU in per cent of one core."""
    pss_mb: float


Round = dict[str, Cost]
"""Costs by part: `main` receives, decodes and schedules; `speaker` passes the samples to ALSA."""


def payloads(seconds: float) -> list[tuple[float, AudioChunk | MotionChunk]]:
    """Per second, 50 payloads of 20 ms of sound and 30 of one pose, with their times, in order. Deterministic."""
    chance = np.random.default_rng(1)
    frames = RATE_HZ // AUDIO_PER_S
    sounds = [chance.integers(-8_000, 8_000, frames).astype("<i2") for _ in range(round(seconds * AUDIO_PER_S))]
    poses = [chance.random(len(ARKIT_NAMES)).astype("<f4") for _ in range(round(seconds * MOTION_PER_S))]
    items: list[tuple[float, AudioChunk | MotionChunk]] = [(n / AUDIO_PER_S, AudioChunk(sound.tobytes())) for n, sound in enumerate(sounds)]
    items += [(n / MOTION_PER_S, MotionChunk(pose.tobytes())) for n, pose in enumerate(poses)]
    return sorted(items, key=lambda item: (item[0], isinstance(item[1], AudioChunk)))


async def paced(seconds: float) -> AsyncIterator[AudioChunk | MotionChunk]:
    """The payloads in real time."""
    began = time.monotonic()
    for due_s, item in payloads(seconds):
        await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
        yield item


async def measure(pids: dict[str, int], seconds: float) -> Round:
    """Measure CPU over the next `seconds`, and PSS at their end."""
    began, before = time.monotonic(), {part: time.clock_gettime_ns(cpu_clock(pid)) for part, pid in pids.items()}
    await asyncio.sleep(seconds)
    took_ns = (time.monotonic() - began) * 1e9
    return {part: Cost((time.clock_gettime_ns(cpu_clock(pid)) - before[part]) / took_ns * 100, _pss_mb(pid)) for part, pid in pids.items()}


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ProgramError(f"the kernel does not tell the memory of process {pid}")


async def ours(folder: Path, seconds: float, *, media_tick_ms: int = 0) -> Round:
    """Measure an edge client without a face, with a relay."""
    total_s = WARM_UP_S + seconds + 1.0
    async with station(folder, Setup(renderer="none", media_tick_ms=media_tick_ms)) as stand:
        performance = Performance(AudioFormat(Codec.PCM_S16LE, RATE_HZ), MOTION, Pacing.LIVE, paced(total_s))
        speaking = asyncio.create_task(stand.speak(performance, total_s))
        await asyncio.sleep(WARM_UP_S)
        costs = await measure({"main": stand.edge.pid, "speaker": stand.speaker_pid()}, seconds)
        await speaking
    return costs


class _BareServer(device_rpc.DeviceServiceServicer):
    """Sends the payloads, one per message, to each attached device while the server runs."""

    async def Attach(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Serve one device."""
        await anext(requests)
        async for item in paced(LONG_S):
            kind = media_pb.KIND_AUDIO if isinstance(item, AudioChunk) else media_pb.KIND_MOTION
            media = media_pb.Media(conversation_id="bare", payloads=[media_pb.Payload(kind=kind, data=item.data)])
            await context.write(device_pb.AttachResponse(media=media))


async def bare(folder: Path, seconds: float) -> Round:
    """Measure the bare gRPC player, with its server."""
    device = PacedDevice(build_library(), folder)
    server = grpc.aio.server()
    device_rpc.add_DeviceServiceServicer_to_server(_BareServer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    command = [*python("scripts.bench.bare_player"), f"127.0.0.1:{port}", "paced_slow"]
    try:
        async with running("bare", command, folder / "bare.log", {"ALSA_CONFIG_PATH": str(device.config)}) as player:
            await _until_it_plays(device)
            await asyncio.sleep(WARM_UP_S)
            costs = await measure({"main": player.pid}, seconds)
    finally:
        await server.stop(0)
    return costs


async def _until_it_plays(device: PacedDevice) -> None:
    for _ in range(600):
        if device.events():
            return
        await asyncio.sleep(0.05)
    raise ProgramError("the peer did not begin to play within 30 s")


async def rounds(count: int, seconds: float) -> dict[str, list[Round]]:
    """Run all rounds; players alternate, in reverse order every second round."""
    runs: dict[str, Callable[[Path, float], Awaitable[Round]]] = {
        "edge-client": ours,
        "joined": partial(ours, media_tick_ms=TICK_MS),
        "bare": bare,
    }
    found: dict[str, list[Round]] = {name: [] for name in runs}
    for number in range(count):
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory(prefix="bench-playout-") as folder:
                found[name].append(await runs[name](Path(folder), seconds))
            told = ", ".join(f"{part} {cost.cpu_percent:.2f} %" for part, cost in found[name][-1].items())
            print(f"round {number + 1}, {name}: {told}", file=sys.stderr, flush=True)
    return found


def summarize(found: dict[str, list[Round]]) -> dict[str, Any]:
    """Medians by player and part, with all rounds; the sum of a player's parts as `all`."""
    summary: dict[str, Any] = {}
    for name, costs in found.items():
        with_sum = [{**cost, "all": _sum(cost)} for cost in costs]
        summary[name] = {
            part: {
                "cpu_percent": round(statistics.median(cost[part].cpu_percent for cost in with_sum), 2),
                "pss_mb": round(statistics.median(cost[part].pss_mb for cost in with_sum), 1),
                "rounds": [{key: round(value, 2) for key, value in asdict(cost[part]).items()} for cost in with_sum],
            }
            for part in with_sum[0]
        }
    return summary


def _sum(costs: Round) -> Cost:
    total = Cost(0.0, 0.0)
    for cost in costs.values():
        total = replace(total, cpu_percent=total.cpu_percent + cost.cpu_percent, pss_mb=total.pss_mb + cost.pss_mb)
    return total


def tell(report: dict[str, Any]) -> str:
    """Format the report for people."""
    lines = [f"80 payloads a second, {report['rounds']} rounds of {report['seconds']:g} s, load {report['load']}, on {report['cpu']}"]
    for name, parts in report["players"].items():
        lines.append(f"\n{name}: {PLAYERS[name]}")
        lines += [f"  {part:8} {cost['cpu_percent']:6.2f} % of a core  {cost['pss_mb']:6.1f} MB PSS" for part, cost in parts.items()]
    lines.append(f"\n{report['verdict']}")
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> None:
    """Measure and report."""
    load = round(os.getloadavg()[0], 2)
    players = summarize(await rounds(options.rounds, options.seconds))
    whole, peer = (players[name]["main"]["cpu_percent"] for name in ("edge-client", "bare"))
    verdict = f"receive + decode + schedule: {whole:.2f} % of a core; grpc.aio and PyAudio alone, as the peer uses them: {peer:.2f} %; "
    verdict += f"our part: {whole - peer:.2f} %, {'within' if whole - peer <= LIMIT_PERCENT else 'BEYOND'} {LIMIT_PERCENT:g} %"
    report = {
        "cpu": _cpu_model(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "load": [load, round(os.getloadavg()[0], 2)],
        "players": players,
        "verdict": verdict,
    }
    print(tell(report))
    print(json.dumps(report))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {named[0] if named else platform.machine()}"


async def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="scripts/bench/playout", description="CPU and memory of playing 80 payloads a second.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each player (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="length of a measured stretch (default: 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here as well")
    task = asyncio.create_task(run(parser.parse_args()))
    stop_on_signals(task)
    try:
        await task
    except asyncio.CancelledError:
        return 130
    except (ProgramError, OSError, TimeoutError) as error:
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
