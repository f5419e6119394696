"""Measures the growth of our relay's cost: CPU per payload, latency and memory by sessions, memory by idle devices."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from statistics import median

from scripts.bench.cases import PACED
from scripts.bench.contenders.relay_device import RelayDevice, open_channel
from scripts.bench.contest import CONTENDERS, BenchError, measure, serving
from tests.lab.restarted_programs import resident_kib

CPU, P99, ACTIVE, IDLE = "cpu_us_by_sessions", "p99_ms_by_sessions", "rss_kb_by_sessions", "rss_kb_by_idle_devices"
SESSIONS = (1, 10, 50, 100)
SECONDS = 2.0
TYPICAL_S = 15.0
"""Approximate duration of a round of the session curves."""
TYPICAL_MEMORY_S = 10.0
"""Approximate duration of a round of the idle-device curve."""
IDLE_DEVICES = (1, 100, 1_000)
SETTLE_S = 2.0
DEVICES_PER_CHANNEL = 50


async def idle(address: str, count: int) -> None:
    """Attach devices and keep them until the other side of the pipe closes."""
    async with AsyncExitStack() as stack:
        devices = []
        for number in range(count):
            if number % DEVICES_PER_CHANNEL == 0:
                channel = await stack.enter_async_context(open_channel(address))
            device = RelayDevice(f"idle-{number}", channel, lambda data: None)
            task = asyncio.create_task(device.run())
            stack.callback(task.cancel)
            devices.append(device)
        async with asyncio.timeout(120):
            for device in devices:
                await device.attached.wait()
        print("attached", flush=True)
        await asyncio.to_thread(sys.stdin.read)


def memory(count: int) -> float:
    """The relay's memory in KB with `count` idle devices. Raises `BenchError`."""
    with serving(CONTENDERS["ours"]) as (address, pid):
        if not count:
            return resident_kib(pid)
        command = [sys.executable, "-P", "-m", "scripts.bench.growth", address, str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as devices:
            assert devices.stdout is not None
            if devices.stdout.readline().strip() != "attached":
                raise BenchError(f"{count} devices did not attach")
            time.sleep(SETTLE_S)
            kb = resident_kib(pid)
            devices.communicate()
        return kb


def growth(rounds: int, say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """All curves, each by number: CPU and latency are medians of `rounds`, memory is their maximum. Raises `BenchError`."""
    curves: dict[str, dict[str, float]] = {name: {} for name in (CPU, P99, ACTIVE, IDLE)}
    for sessions in SESSIONS:
        measured = [measure(CONTENDERS["ours"], replace(PACED, sessions=sessions, seconds=SECONDS)) for _ in range(rounds)]
        for name, figure, of in ((CPU, "cpu_us", median), (P99, "p99_ms", median), (ACTIVE, "rss_kb", max)):
            curves[name][str(sessions)] = of(figures[figure] for figures in measured)
        say(
            f"{sessions} sessions: {curves[CPU][str(sessions)]:.0f} µs CPU/payload, p99 {curves[P99][str(sessions)]:.1f} ms, "
            f"{curves[ACTIVE][str(sessions)] / 1024:.1f} MiB"
        )
    for count in (0, *IDLE_DEVICES):
        curves[IDLE][str(count)] = memory(count)
        say(f"{count} idle devices: {curves[IDLE][str(count)] / 1024:.1f} MiB")
    return curves


def steepest(curve: Mapping[float, float]) -> tuple[float, float]:
    """The slope of a curve over its first step, and the largest over a later one. If growth is at most linear, no later slope
    exceeds the first. `curve` has at least three points, by number.
    """
    points = sorted(curve.items())
    slopes = [(later - earlier) / (more - fewer) for (fewer, earlier), (more, later) in pairwise(points)]
    return slopes[0], max(slopes[1:])


if __name__ == "__main__":
    asyncio.run(idle(sys.argv[1], int(sys.argv[2])))
