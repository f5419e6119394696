"""Connections of strangers are closed, those of callers stay: on a relay's real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from avatar_relay.credentials import metadata_of
from relay_server.access import connection_rules, sweep_times
from relay_server.access.connection_rules import (
    ADMISSION_US,
    MAX_METADATA_BYTES,
    STRANGER_BYTES,
    STRANGERS_PER_NETWORK,
    STREAMS_AT_ONCE,
    STREAMS_PER_S,
)
from relay_server.access.refusal_log import LINES_PER_MINUTE, LINES_PER_MINUTE_IN_ALL, RefusalLog
from relay_server.access.scopes import Role
from relay_server.access.sweep_times import SweepTimes
from relay_server.service import connection_watch, grpc_servers
from relay_server.service.connection_watch import (
    BACKLOG,
    CALLER_BUFFER_BYTES,
    STRANGER_BUFFER_BYTES,
    ConnectionWatch,
    max_connections,
)
from relay_server.service.interceptor import RequestInterceptor
from tests.lab.attack.http2 import (
    ACK,
    END_HEADERS,
    HEADERS,
    HEALTH,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    header_block,
    large_headers,
    literal,
)
from tests.relay_server.access.guarded import Access, guarded

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

LIST = "/avatar_relay.v1.AdminService/ListDevices"
RESET = b"\0\0\0\x08"


@asynccontextmanager
async def connections(address: str, count: int) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """Open the given number of connections that send only the preface."""
    host, _, port = address.rpartition(":")
    opened = []
    for _ in range(count):
        opened.append(await asyncio.open_connection(host, int(port)))
        opened[-1][1].write(PREFACE + frame(SETTINGS, 0, 0))
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def is_over(reader: asyncio.StreamReader, within_s: float) -> bool:
    """Whether the relay closes a connection in time."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(within_s):
            while await reader.read(1 << 16):
                pass
    return reader.at_eof() or reader.exception() is not None


async def test_the_oldest_strangers_go_and_callers_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An operator's connection is the oldest one, and idle."""
    access = Access(tmp_path)
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    async with guarded(access) as relay, grpc.aio.insecure_channel(relay.address) as channel:
        method: Any = channel.unary_unary(LIST)
        await method(b"", metadata=metadata_of(token))
        began_s = time.monotonic()
        async with connections(relay.address, STRANGERS_PER_NETWORK + 6) as strangers:
            for _, writer in strangers:
                writer.write(frame(SETTINGS, ACK, 0))
            assert all(await asyncio.gather(*(is_over(reader, 30) for reader, _ in strangers[:6])))
            assert time.monotonic() - began_s > ADMISSION_US / 1e6
            assert not any(await asyncio.gather(*(is_over(reader, 0.5) for reader, _ in strangers[6:])))
            assert channel.get_state() is grpc.ChannelConnectivity.READY
            await method(b"", metadata=metadata_of(token))
    lines = [record.message for record in caplog.records if record.name == connection_watch.__name__]
    assert 1 <= len(lines) <= 6  # one, unless the machine is so busy that a sweep runs between the connections
    assert all(" connections of 127.0.0.1" in line for line in lines)


async def test_a_connection_that_resets_streams_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed after a number of calls that were not admitted; a caller that connects meanwhile is admitted at once."""
    access, begun = Access(tmp_path), 0
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    admitted = RequestInterceptor._admitted

    async def counted(*arguments: object) -> None:
        nonlocal begun
        begun += 1
        await admitted(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RequestInterceptor, "_admitted", counted)
    async with guarded(access) as relay, connections(relay.address, 1) as [(reader, writer)]:
        block, began_s = header_block(HEALTH), time.monotonic()
        for stream in range(1, 4_001, 2):
            writer.write(frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, RESET))
        assert await is_over(reader, 5)
        assert begun <= STREAMS_AT_ONCE + 5 + STREAMS_PER_S * (time.monotonic() - began_s)
        async with asyncio.timeout(2), grpc.aio.insecure_channel(relay.address) as channel:
            method: Any = channel.unary_unary(LIST)
            await method(b"", metadata=metadata_of(token))


@pytest.mark.parametrize(
    "headers",
    [large_headers(1, STRANGER_BYTES // 2), frame(HEADERS, END_HEADERS, 1, header_block(HEALTH) + literal(b"", b"") * 1_000)],
    ids=["large", "without name"],
)
async def test_a_connection_with_large_metadata_is_ended(headers: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Although it never acknowledges the relay's settings, so that gRPC itself accepts 16 MiB. Each entry counts 32 bytes more."""
    async with guarded(Access(tmp_path)) as relay, connections(relay.address, 1) as [(reader, writer)]:
        writer.write(headers)
        assert await is_over(reader, 5)
    assert any(f"{MAX_METADATA_BYTES} bytes of metadata" in record.message for record in caplog.records)


async def test_headers_that_never_end_are_bounded(tmp_path: Path) -> None:
    """A header of 8 MiB without its last byte; gRPC would hold it, as no call has begun."""
    async with guarded(Access(tmp_path)) as relay, connections(relay.address, 2) as [(reader, writer), (modest, small)]:
        small.write(large_headers(1, STRANGER_BYTES // 2)[:-1])
        assert not await is_over(modest, 0.5)
        writer.write(large_headers(1, 8 << 20)[:-1])
        assert await is_over(reader, 4)  # the settings' time ends after 5 s


async def test_new_connections_are_looked_at_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only at the regular sweeps, which do not happen here. What a callers' connection receives is not looked at."""
    monkeypatch.setattr(sweep_times, "SWEEP_US", 1 << 60)
    access, sweeps, sweep = Access(tmp_path), 0, ConnectionWatch.sweep
    token = access.add(Role.OPERATOR, "ann", devices=("*",))

    def counted(watch: ConnectionWatch) -> int:
        nonlocal sweeps
        sweeps += 1
        return sweep(watch)

    monkeypatch.setattr(ConnectionWatch, "sweep", counted)
    async with guarded(access) as relay:
        async with connections(relay.address, 1) as [(reader, writer)]:
            writer.write(large_headers(1, 2 * STRANGER_BYTES)[:-1])
            assert await is_over(reader, 4)  # the settings' time ends after 5 s
        async with grpc.aio.insecure_channel(relay.address) as channel:
            method: Any = channel.unary_unary(LIST)
            for _ in range(200):
                await method(b"", metadata=metadata_of(token))
        assert sweeps < 100


async def test_a_suspect_network_is_heard_one_connection_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a call with large metadata. A caller of the same network is admitted, and its connection from before is not disturbed."""
    heard: list[int] = []
    hear = ConnectionWatch._hear

    def counted(watch: ConnectionWatch, connection: Any) -> None:
        heard.append(connection.order)
        hear(watch, connection)

    monkeypatch.setattr(ConnectionWatch, "_hear", counted)
    access = Access(tmp_path)
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    async with guarded(access) as relay, grpc.aio.insecure_channel(relay.address) as before:
        method: Any = before.unary_unary(LIST)
        await method(b"", metadata=metadata_of(token))
        async with connections(relay.address, 1) as [(reader, writer)]:
            writer.write(large_headers(1, STRANGER_BYTES // 2))
            assert await is_over(reader, 5)
        async with connections(relay.address, 5), asyncio.timeout(10):
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(relay.address, options=options) as after:
                later: Any = after.unary_unary(LIST)
                await method(b"", metadata=metadata_of(token))
                await later(b"", metadata=metadata_of(token))
        assert heard == sorted(heard) and len(heard) >= 6


async def test_new_connections_wait_in_a_short_queue(tmp_path: Path) -> None:
    """gRPC accepts all that wait before it reads anything, and would let 4,096 wait."""
    async with guarded(Access(tmp_path)) as relay:
        port = relay.address.rpartition(":")[2]
        command = ["ss", "-Hltn", "sport", "=", f":{port}"]
        shown = (await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)).stdout
        assert [int(line.split()[2]) for line in shown.splitlines()] == [BACKLOG]


async def test_the_receive_buffer_is_small_until_a_caller_is_admitted(tmp_path: Path) -> None:
    """The kernel's own buffer would grow to megabytes, which gRPC reads at once."""
    access = Access(tmp_path)
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    async with guarded(access) as relay, connections(relay.address, 1), grpc.aio.insecure_channel(relay.address) as channel:
        method: Any = channel.unary_unary(LIST)
        await method(b"", metadata=metadata_of(token))
        assert set(buffers(relay.address)) <= {2 * STRANGER_BUFFER_BYTES, 2 * CALLER_BUFFER_BYTES}  # the kernel doubles them
        relay.server._watch.sweep()
        assert sorted(buffers(relay.address)) == [2 * STRANGER_BUFFER_BYTES, 2 * CALLER_BUFFER_BYTES]


def buffers(address: str) -> list[int]:
    """The receive buffer of each of the relay's connections."""
    found, port = list[int](), int(address.rpartition(":")[2])
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            held = socket.socket(fileno=int(name))
            with contextlib.suppress(OSError):
                if held.family in (socket.AF_INET, socket.AF_INET6) and held.getsockname()[1] == port:
                    held.getpeername()
                    found.append(held.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
            held.detach()
    return found


async def test_settings_that_are_not_acknowledged_end_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(grpc_servers.OPTIONS) | {"grpc.http2.settings_timeout": 300}
    monkeypatch.setattr(grpc_servers, "OPTIONS", tuple(options.items()))
    async with guarded(Access(tmp_path)) as relay, connections(relay.address, 2) as [(silent, _), (proper, writer)]:
        writer.write(frame(SETTINGS, ACK, 0))
        assert await is_over(silent, 5)
        assert not await is_over(proper, 0.5)


async def test_calls_of_unknown_methods_count(tmp_path: Path) -> None:
    async with guarded(Access(tmp_path)) as relay, connections(relay.address, 1) as [(reader, writer)]:
        for stream in range(1, 10 * STREAMS_AT_ONCE, 2):  # more than a slow relay gives back meanwhile
            writer.write(frame(HEADERS, END_HEADERS | 1, stream, header_block(f"/nope/{stream}")))
        assert await is_over(reader, 30)


async def test_behind_a_proxy_nothing_is_counted(tmp_path: Path) -> None:
    count = STRANGERS_PER_NETWORK + 6
    async with guarded(Access(tmp_path), proxies=("127.0.0.0/8",)) as relay, connections(relay.address, count) as strangers:
        assert not any(await asyncio.gather(*(is_over(reader, 1.5) for reader, _ in strangers)))


async def test_a_connection_is_ended_when_no_descriptor_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The required resources are held since the start."""
    monkeypatch.setattr(SweepTimes, "is_due", lambda *_: False)
    monkeypatch.setattr(connection_rules, "ADMISSION_US", -1)
    async with guarded(Access(tmp_path)) as relay:
        watch: ConnectionWatch = relay.server._watch
        async with connections(relay.address, STRANGERS_PER_NETWORK + 2) as strangers:
            await asyncio.sleep(0.1)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.open(os.devnull, os.O_RDONLY)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            try:
                assert watch.sweep() >= 2
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert await is_over(strangers[0][0], 2)


@pytest.mark.parametrize(("descriptors", "servers", "most"), [(1_024, 1, 896), (1_024, 2, 448), (100, 1, 16)])
def test_descriptors_are_left_for_files(descriptors: int, servers: int, most: int) -> None:
    assert max_connections(descriptors, servers) == most


def test_the_log_of_refusals_is_bounded_in_all(caplog: pytest.LogCaptureFixture) -> None:
    """Many networks, as in a botnet."""
    log = RefusalLog(logging.getLogger("tests"), lambda: 0)
    for number in range(1_000):
        for _ in range(10):
            log.write(f"network {number}", "refused: %d", number)
    assert len(caplog.records) == LINES_PER_MINUTE_IN_ALL
    assert [record.message for record in caplog.records].count("refused: 0") == LINES_PER_MINUTE
