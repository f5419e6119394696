"""`scripts/bench/relay --cases tracing`: instructions of the relay per payload, without and with tracing, under callgrind.

One payload at a time goes through a relay that callgrind counts; the slope between two lengths leaves out start and end.

- `none`: a build without tracing: `scripts.bench.untraced` takes every call of the observer out of the relay's sources.
- `off`: as installed, no exporter asked for; counted twice, so that it shows what a difference is worth.
- `default`: what OTEL_EXPORTER_OTLP_ENDPOINT alone switches on: spans of each conversation's stages, and metrics.
- `full`: a span for each payload besides (AVATAR_TRACE_EVERY=1).

What is exported by the clock would be counted the more, the slower the machine is: it waits for the end, or for a full batch.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from avatar_relay.tracing import TRACE_EVERY
from scripts.bench.contenders.ours import Clients
from scripts.bench.contest import BenchError
from scripts.bench.contract import monotonic_us
from scripts.simulated.stamp import audio_payload
from scripts.trace_receiver import TraceReceiver

LENGTHS = (200, 1_000)
START_S, STOP_S, PAYLOAD_S = 900.0, 300.0, 120.0
AS_INSTALLED, UNTRACED = "relay_server", "scripts.bench.untraced"
QUIET = {"AVATAR_RELAY_HEARTBEAT_US": "4000000", "AVATAR_RELAY_PEER_TIMEOUT_US": "1200000000"}
EXPORTED_LATE = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
AGAIN = "off, again"
TYPICAL_S = 240.0
"""What all of it takes, about."""
COLLECTED = re.compile(r"Collected : (\d+)")


class QuietClients(Clients):
    """Devices report by volume only: what is said by the clock would be counted the more, the slower the machine is."""

    report_s = 3_600.0


async def one_at_a_time(address: str, count: int) -> None:
    """Publish, wait until it came, publish the next."""
    came = asyncio.Event()
    clients = QuietClients(address, lambda _: came.set())
    await clients.attach(0, 0)
    for number in range(count):
        came.clear()
        await clients.publish(0, [audio_payload(0, number, monotonic_us())], ())
        async with asyncio.timeout(PAYLOAD_S):
            await came.wait()
    await clients.close()


def _own_environment() -> dict[str, str]:
    """Ours without what it says of tracing."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


async def instructions(count: int, program: str, environment: Mapping[str, str]) -> int:
    """What a whole life of a relay with so many payloads takes. Raises `BenchError`."""
    with tempfile.TemporaryDirectory() as folder:
        port_file, log = Path(folder) / "port", Path(folder) / "log"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable, "-P", "-m", program]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(port_file), "--drain-grace-ms", "100"]
        with log.open("wb") as output:
            relay = subprocess.Popen(  # noqa: ASYNC220  # returns at once
                command, stdout=output, stderr=output, env={**_own_environment(), "PYTHONHASHSEED": "0", **QUIET, **environment}
            )
        try:
            deadline = time.monotonic() + START_S
            while not (port_file.exists() and port_file.read_text()):
                if relay.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"the relay does not listen under valgrind:\n{log.read_text()[-2000:]}")
                await asyncio.sleep(0.1)
            await one_at_a_time(f"127.0.0.1:{port_file.read_text().strip()}", count)
            relay.terminate()
            await asyncio.to_thread(relay.wait, STOP_S)
        finally:
            relay.kill()
            relay.wait()
        found = COLLECTED.search(log.read_text())
        if found is None:
            raise BenchError(f"callgrind said nothing:\n{log.read_text()[-2000:]}")
        return int(found[1])


async def slope(program: str, environment: Mapping[str, str]) -> float:
    """Instructions per payload."""
    short, long = [await instructions(count, program, environment) for count in LENGTHS]
    return (long - short) / (LENGTHS[1] - LENGTHS[0])


async def slopes(say: Callable[[str], None]) -> dict[str, float]:
    """Instructions per payload by mode. Raises `BenchError`."""
    async with TraceReceiver() as receiver:
        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **EXPORTED_LATE}
        modes: dict[str, tuple[str, Mapping[str, str]]] = {
            "none": (UNTRACED, {}),
            "off": (AS_INSTALLED, {}),
            "default": (AS_INSTALLED, exported),
            "full": (AS_INSTALLED, {**exported, TRACE_EVERY: "1"}),
            AGAIN: (AS_INSTALLED, {}),
        }
        found = {}
        for name, (program, environment) in modes.items():
            found[name] = await slope(program, environment)
            say(f"{name}: {found[name]:,.0f} instructions per payload")
    return found
