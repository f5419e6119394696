"""Measures the start-up time of the programs from exec until they are usable, in comparison with minimal programs of their kind.

- `relay-server` until it listens, beside a bare grpc.aio server (the contender `bare`) until it does;
- `edge-client` until it is attached, with its face (off-screen) and without one, beside a bare grpc.aio client that attaches to the
  same relay, imports and all;
- imports alone, measured from within: the client's, the relay's, and those of grpc.aio.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from scripts.bench.contest import CONTENDERS, BenchError, serving

WAIT_S = 60.0
LOOK_S = 0.002
SAID_BYTES = 1 << 16
"""Limit of the output that is read."""
ROUND_S = 8.0
"""Approximate duration of a round."""
IMPORTS = {
    "imports: edge-client": "edge_client.cli, edge_client.app",
    "imports: relay-server": "relay_server.cli, relay_server.server",
    "imports: grpc.aio": "grpc.aio",
}
LISTENING = {"relay-server listens": "ours", "bare server listens": "bare"}
HEADLESS = ("-m", "edge_client", "--headless", "--log-level", "info", "--relay")
BARE_CLIENT = """
import asyncio, sys, grpc.aio
from avatar_relay.v1 import device_service_pb2 as pb, device_service_pb2_grpc as rpc
async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        call = rpc.DeviceServiceStub(channel).Attach()
        await call.write(pb.AttachRequest(hello=pb.Hello(device_id="bare", protocol_version=1)))
        await call.read()
        print("attached to", sys.argv[1], flush=True)
asyncio.run(main())
"""


def attaching(address: str) -> dict[str, tuple[str, ...]]:
    """Python arguments of the clients."""
    return {
        "edge-client attached": (*HEADLESS, address),
        "edge-client attached, no face": (*HEADLESS, address, "--renderer", "none"),
        "bare client attached": ("-c", BARE_CLIENT, address),
    }


def until_said(arguments: tuple[str, ...], pattern: str) -> float:
    """Seconds from exec until a program's output matches `pattern`. Raises `BenchError`."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-P", *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            while time.monotonic() - began < WAIT_S:
                took = time.monotonic() - began
                text = os.pread(said.fileno(), SAID_BYTES, 0).decode(errors="replace")  # the program's own writes depend on the offset
                if re.search(pattern, text):
                    return took
                if process.poll() is not None:
                    break
                time.sleep(LOOK_S)
            raise BenchError(f"{' '.join(arguments)[:80]} did not say {pattern!r}:\n{text[-2000:]}")
        finally:
            process.kill()
            process.wait()


def _listening(contender: str) -> float:
    began = time.monotonic()
    with serving(CONTENDERS[contender]):
        return time.monotonic() - began


def _imports(modules: str) -> float:
    code = f"import time; began = time.perf_counter(); import {modules}; print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-P", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return float(done.stdout)


def start_up(rounds: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Seconds of each program by round, in alternating order. Raises `BenchError`."""
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        with serving(CONTENDERS["ours"]) as (address, _):
            turns: list[tuple[str, Callable[[], float]]] = []
            turns += [(name, partial(_listening, contender)) for name, contender in LISTENING.items()]
            turns += [(name, partial(until_said, command, "attached to")) for name, command in attaching(address).items()]
            turns += [(name, partial(_imports, modules)) for name, modules in IMPORTS.items()]
            for name, measure in turns if number % 2 == 0 else reversed(turns):
                found.setdefault(name, []).append(measure())
                say(f"start {number + 1}/{rounds}  {name:30} {1e3 * found[name][-1]:.0f} ms")
    return found
