"""Callers without credentials and the real program: they neither fill its log nor delay a revocation, and others are admitted."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from avatar_relay.credentials import metadata_of
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from relay_server.access.scopes import Role
from tests.lab.attack.http2 import HEALTH
from tests.lab.data import PROJECT_ROOT
from tests.relay_server.access.guarded import Access, code_of
from tests.relay_server.access.test_connection_watch import connections

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits descriptors as Linux does")

LIST, WATCH = "/avatar_relay.v1.AdminService/ListDevices", "/avatar_relay.v1.AdminService/WatchEvents"
REVOKED_WITHIN_S, ADMITTED_WITHIN_S = 3.0, 2.0
HEARTBEATS = admin_pb.WatchEventsRequest(heartbeat=True).SerializeToString()
MAX_LINES = 10
DESCRIPTORS = 256
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)
HTTP = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"


@asynccontextmanager
async def program(access: Access, log: Path, descriptors: int = DESCRIPTORS) -> AsyncIterator[str]:
    """Run `relay-server` with so many descriptors; yields HOST:PORT."""
    command = f"ulimit -n {descriptors}; exec {sys.executable} -m relay_server --listen 127.0.0.1:0 --access-file {access.path}"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=PROJECT_ROOT)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()[-1]
    finally:
        process.kill()
        await process.wait()


async def test_a_revocation_counts_while_strangers_use_up_the_descriptors(tmp_path: Path) -> None:
    """Another caller is admitted meanwhile; the revoked one, whose stream ends, is refused from then on."""
    access = Access(tmp_path)
    ann, bob = (access.add(Role.OPERATOR, name, devices=("*",)) for name in ("ann", "bob"))
    async with program(access, tmp_path / "log") as address, grpc.aio.insecure_channel(address) as channel:
        begin: Any = channel.unary_stream(WATCH)
        watch = begin(HEARTBEATS, metadata=metadata_of(ann))
        await watch.read()  # a heartbeat: it is admitted
        async with connections(address, 2 * DESCRIPTORS):
            access.revoke(Role.OPERATOR, "ann")
            async with asyncio.timeout(REVOKED_WITHIN_S):
                with pytest.raises(grpc.aio.AioRpcError, match="ann were revoked"):
                    while True:
                        await watch.read()
            began_s = time.monotonic()
            async with grpc.aio.insecure_channel(address) as another:
                method: Any = another.unary_unary(LIST)
                await method(b"", metadata=metadata_of(bob), wait_for_ready=True, timeout=10)
            assert time.monotonic() - began_s < ADMITTED_WITHIN_S
        assert (await code_of(channel, LIST, ann))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_what_strangers_send_leaves_few_lines(tmp_path: Path) -> None:
    """Undecodable health checks, calls with wrong tokens and of unknown methods, TLS and plain HTTP."""
    access = Access(tmp_path)
    async with program(access, tmp_path / "log", 1_024) as address:
        host, _, port = address.rpartition(":")
        for number in range(20):
            async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                assert (await code_of(channel, HEALTH, sent=b"\xff" * 40))[0] is grpc.StatusCode.INVALID_ARGUMENT
                for method, token in ((LIST, "avr_" + "0" * 16 + "_" + "0" * 64), (LIST, "x"), (f"/nope/{number}", None)):
                    assert (await code_of(channel, method, token))[0] is not grpc.StatusCode.OK
            for data in (TLS_HELLO, HTTP, b"\xff" * 100):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(data)
                await reader.read(1 << 16)
                writer.transport.abort()
    lines = (tmp_path / "log").read_text().splitlines()
    assert 1 <= len(lines) <= MAX_LINES, lines
    assert all(" WARNING " in line for line in lines), lines
