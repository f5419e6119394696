"""How cost grows with work, for our relay alone: CPU per payload over sessions, memory over idle devices."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from scripts.bench.cases import PACED
from scripts.bench.contest import CONTENDERS, BenchError, measure, serving
from scripts.simulated.device import SimulatedDevice, open_channel

SESSIONS = (1, 10, 50, 100)
IDLE_DEVICES = (1, 100, 1_000)
SETTLE_S = 2.0
DEVICES_PER_CHANNEL = 50


class Deaf:
    """Hears nothing."""

    def payload(self, conversation_id: str, payload: object) -> None:
        """Nothing."""

    def ended(self, conversation_id: str, audio_seq: int, motion_seq: int) -> None:
        """Nothing."""


def resident_kb(pid: int) -> int:
    """Memory that a process really has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError(f"process {pid} has no VmRSS")


async def idle(address: str, count: int) -> None:
    """Attach devices and keep them until the other side of the pipe closes."""
    async with AsyncExitStack() as stack:
        devices = []
        for number in range(count):
            if number % DEVICES_PER_CHANNEL == 0:
                channel = await stack.enter_async_context(open_channel(address))
            device = SimulatedDevice(f"idle-{number}", channel, Deaf())
            task = asyncio.create_task(device.run())
            stack.callback(task.cancel)
            devices.append(device)
        async with asyncio.timeout(120):
            for device in devices:
                await device.attached.wait()
        print("attached", flush=True)
        await asyncio.to_thread(sys.stdin.read)


def memory(count: int) -> int:
    """The relay's memory in KB with so many idle devices. Raises `BenchError`."""
    with serving(CONTENDERS["ours"]) as (address, pid):
        before = resident_kb(pid)
        if not count:
            return before
        command = [sys.executable, "-P", "-m", "scripts.bench.growth", address, str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as devices:
            assert devices.stdout is not None
            if devices.stdout.readline().strip() != "attached":
                raise BenchError(f"{count} devices did not attach")
            time.sleep(SETTLE_S)
            kb = resident_kb(pid)
            devices.communicate()
        return kb


def growth(say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Both curves."""
    curves: dict[str, dict[str, float]] = {"cpu_us_by_sessions": {}, "p99_ms_by_sessions": {}, "rss_kb_by_idle_devices": {}}
    for sessions in SESSIONS:
        figures = measure(CONTENDERS["ours"], replace(PACED, sessions=sessions, seconds=3.0))
        curves["cpu_us_by_sessions"][str(sessions)] = figures["cpu_us"]
        curves["p99_ms_by_sessions"][str(sessions)] = figures["p99_ms"]
        say(f"{sessions} sessions: {figures['cpu_us']:.0f} µs CPU/payload, p99 {figures['p99_ms']:.1f} ms")
    for count in (0, *IDLE_DEVICES):
        curves["rss_kb_by_idle_devices"][str(count)] = memory(count)
        say(f"{count} idle devices: {curves['rss_kb_by_idle_devices'][str(count)] / 1024:.1f} MiB")
    return curves


if __name__ == "__main__":
    asyncio.run(idle(sys.argv[1], int(sys.argv[2])))
