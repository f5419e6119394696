"""`scripts/bench/relay --cases tracing`: instructions of the relay per payload, without and with tracing, under callgrind.

The cost of tracing is counted on the relay's connections without sockets (`scripts.bench.traced_core`), where each run executes the same
instructions; its base is a whole relay that receives one payload at a time over gRPC. For both, the slope between two lengths excludes
start and end. A whole relay's count cannot show the cost of tracing: it varies by 2 % between runs.

- `none`: a build without tracing: `scripts.bench.untraced` takes every call of the observer out of the relay's sources.
- `off`: as installed, no exporter asked for.
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from avatar_relay.tracing import TRACE_EVERY
from scripts.bench.contenders.ours import Clients
from scripts.bench.contest import BenchError
from tests.lab.otlp import OtlpReceiver
from tests.lab.stamp import audio_payload, now_us

LENGTHS = (200, 1_000)
CORE_LENGTHS = (500, 2_500)
RELAY = "relay"
"""Name of the whole relay's figure, beside those of the modes."""
START_S, STOP_S, PAYLOAD_S = 900.0, 300.0, 120.0
QUIET = {"AVATAR_RELAY_HEARTBEAT_MS": "4000", "AVATAR_RELAY_PEER_TIMEOUT_MS": "1200000"}
EXPORTED_LATE = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
TYPICAL_S = 200.0
"""Approximate total duration in seconds."""
CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
COLLECTED = re.compile(r"Collected : (\d+)")


class QuietClients(Clients):
    """Devices report by volume only: timed reports would add instructions on a slower machine."""

    report_s = 3_600.0


async def one_at_a_time(address: str, count: int) -> None:
    """Publish a payload, wait until it was received, then publish the next."""
    came = asyncio.Event()
    clients = QuietClients(address, lambda _: came.set())
    await clients.attach(0, 0)
    for number in range(count):
        came.clear()
        await clients.publish(0, [audio_payload(0, number, now_us())], ())
        async with asyncio.timeout(PAYLOAD_S):
            await came.wait()
    await clients.close()


def _own_environment() -> dict[str, str]:
    """This process's environment without tracing variables, and with a fixed hash seed."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | {"PYTHONHASHSEED": "0"}


async def relay_instructions(count: int) -> int:
    """Instructions of a relay's whole run with `count` payloads and tracing off. Raises `BenchError`."""
    with tempfile.TemporaryDirectory() as folder:
        port_file, log = Path(folder) / "port", Path(folder) / "log"
        command = [*CALLGRIND, sys.executable, "-P", "-m", "relay_server"]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(port_file), "--drain-grace-ms", "100"]
        with log.open("wb") as output:
            relay = subprocess.Popen(  # noqa: ASYNC220  # returns at once
                command, stdout=output, stderr=output, env=_own_environment() | QUIET
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
        return _collected(log.read_text())


async def core_instructions(count: int, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Instructions of a whole run of the relay's connections with `count` payloads. Raises `BenchError`."""
    command = [*CALLGRIND, sys.executable, "-P", "-m", "scripts.bench.traced_core", str(count), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env={**_own_environment(), **environment}
    )
    try:
        async with asyncio.timeout(START_S):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return _collected(said.decode(errors="replace"))


def _collected(said: str) -> int:
    found = COLLECTED.search(said)
    if found is None:
        raise BenchError(f"callgrind said nothing:\n{said[-2000:]}")
    return int(found[1])


async def slope(lengths: tuple[int, int], instructions: Callable[[int], Awaitable[int]]) -> float:
    """Instructions per payload."""
    short, long = [await instructions(count) for count in lengths]
    return (long - short) / (lengths[1] - lengths[0])


async def slopes(say: Callable[[str], None]) -> dict[str, float]:
    """Instructions per payload: of the connections by mode, and of a whole relay. Raises `BenchError`."""
    async with OtlpReceiver() as receiver:
        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **EXPORTED_LATE}
        modes: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
            "none": (["--untraced"], {}),
            "off": ([], {}),
            "default": ([], exported),
            "full": ([], {**exported, TRACE_EVERY: "1"}),
        }
        found = {}
        for name, (arguments, environment) in modes.items():
            found[name] = await slope(CORE_LENGTHS, partial(core_instructions, arguments=arguments, environment=environment))
            say(f"{name}: {found[name]:,.0f} instructions per payload at the desks")
        found[RELAY] = await slope(LENGTHS, relay_instructions)
        say(f"{found[RELAY]:,.0f} instructions per payload of a whole relay, tracing off")
    return found


def added(instructions: Mapping[str, float], mode: str, base: str) -> float:
    """The extra cost of a mode over `base`, in per cent of a whole relay."""
    return 100 * (instructions[mode] - instructions[base]) / instructions[RELAY]
