"""`scripts/bench/tracing_cost`: instructions of the relay per payload, without and with tracing, under callgrind.

One payload at a time goes through a relay that callgrind counts; the slope between two lengths leaves out start and end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from scripts.bench.contenders.ours import Clients
from scripts.bench.contest import BenchError
from scripts.bench.contract import monotonic_us
from scripts.simulated.stamp import audio_payload
from scripts.trace_receiver import TraceReceiver

LENGTHS = (200, 1_000)
START_S, STOP_S = 120.0, 120.0
QUIET = {"AVATAR_RELAY_HEARTBEAT_US": "4000000", "AVATAR_RELAY_PEER_TIMEOUT_US": "1200000000"}
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
        async with asyncio.timeout(START_S):
            await came.wait()
    await clients.close()


async def instructions(count: int, environment: Mapping[str, str]) -> int:
    """What a whole life of a relay with so many payloads takes. Raises `BenchError`."""
    with tempfile.TemporaryDirectory() as folder:
        port_file, log = Path(folder) / "port", Path(folder) / "log"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable, "-P", "-m", "relay_server"]
        command += ["--listen", "127.0.0.1:0", "--port-file", str(port_file), "--drain-grace-ms", "100"]
        with log.open("wb") as output:
            relay = subprocess.Popen(  # noqa: ASYNC220  # returns at once
                command, stdout=output, stderr=output, env={**os.environ, "PYTHONHASHSEED": "0", **QUIET, **environment}
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


async def slope(environment: Mapping[str, str]) -> float:
    """Instructions per payload."""
    short, long = [await instructions(count, environment) for count in LENGTHS]
    return (long - short) / (LENGTHS[1] - LENGTHS[0])


async def main() -> int:
    """The command."""
    argparse.ArgumentParser(prog="scripts/bench/tracing_cost", description=__doc__).parse_args()
    async with TraceReceiver() as receiver:
        modes = {
            "off": {"OTEL_SDK_DISABLED": "true"},
            "default": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint},
        }
        slopes = {}
        for name, environment in modes.items():
            slopes[name] = await slope(environment)
            print(f"{name}: {slopes[name]:,.0f} instructions per payload", file=sys.stderr, flush=True)
    print(json.dumps({"instructions_per_payload": slopes, "default_over_off": slopes["default"] / slopes["off"]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
