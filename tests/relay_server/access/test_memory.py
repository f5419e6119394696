"""Memory cost of callers that send half a request: small and short-lived. Runs against the real program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_server.service.arrivals import ARRIVING_PER_CALLER
from relay_server.service.grpc_servers import MAX_CONCURRENT_STREAMS
from tests.lab.attack.http2 import MAX_STREAMS
from tests.lab.data import PROJECT_ROOT
from tests.raw_http2 import raw_connection
from tests.relay_server.access.guarded import Access

LIST, CHECK = "/avatar_relay.v1.AdminService/ListDevices", "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
STREAMS, MESSAGE_BYTES = 12, 8 << 20
MAX_GROWTH_BYTES = 64 << 20
"""Two thirds of the bytes these streams send in total."""


@asynccontextmanager
async def program(*flags: str) -> AsyncIterator[tuple[int, str]]:
    """Run `relay-server`; yields its process id and HOST:PORT."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay_server", "--listen", "127.0.0.1:0", *flags, stdout=asyncio.subprocess.PIPE, cwd=PROJECT_ROOT
    )
    try:
        assert process.stdout is not None
        yield process.pid, (await process.stdout.readline()).decode().split()[-1]
    finally:
        process.kill()
        await process.wait()


def memory_bytes(pid: int, kind: str) -> int:
    """VmRSS (current) or VmHWM (peak) of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(kind))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("guarded", "method"), [(True, LIST), (True, CHECK), (False, REFLECTION)])
async def test_half_sent_requests_cost_little(tmp_path: Path, guarded: bool, method: str) -> None:
    """12 requests of 8 MiB without their last byte, by an unauthenticated caller: they are not retained, and displace each other."""
    flags = ("--access-file", str(Access(tmp_path).path)) if guarded else ()
    async with program(*flags) as (pid, address), raw_connection(address) as stranger:
        before = memory_bytes(pid, "VmRSS")
        await stranger.push(stranger.half_sent(STREAMS, method, MESSAGE_BYTES))
        assert memory_bytes(pid, "VmHWM") - before < MAX_GROWTH_BYTES
        await stranger.until_ended(STREAMS - ARRIVING_PER_CALLER)
        assert stranger.settings[MAX_STREAMS] == MAX_CONCURRENT_STREAMS
