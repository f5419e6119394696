"""Links while strangers, in a program of their own, open as many connections to the same port as they can, from the relay's own address."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from relay_server.access.refusal_log import LINES_PER_MINUTE
from relay_server.links import socket_links
from relay_server.links.proof import MAGIC
from relay_server.links.socket_links import MAX_UNPROVED, PROOF_S, SocketLinks
from tests.relay_server.links import flooder
from tests.relay_server.links.test_socket_links import address_of, opened, relay, wherever

STRANGERS = 96
ATTEMPTS = 20


@asynccontextmanager
async def strangers(host: str, port: int, kind: str) -> AsyncIterator[None]:
    """They hold and open connections during the block."""
    command = [sys.executable, "-m", flooder.__name__, host, str(port), kind, str(STRANGERS)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"flooding\n"
        yield
    finally:
        process.kill()
        await process.communicate()


@asynccontextmanager
async def flooded(home: SocketLinks, kind: str) -> AsyncIterator[None]:
    """Strangers are at this relay's port, as it has noticed."""
    async with strangers(*address_of(home), kind):
        async with asyncio.timeout(5):
            while len(home._unproved) < (MAX_UNPROVED if kind == "silent" else 1):  # noqa: ASYNC110
                await asyncio.sleep(0)  # in each turn of the loop: garbage is refused in the next one
        yield


def descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


async def nothing_left(home: SocketLinks) -> None:
    """Wait until no stranger is left, with a deadline."""
    async with asyncio.timeout(PROOF_S + 2):
        while home._unproved or home._accepting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("way", "kind"), [("tcp", "silent"), ("tcp", "garbage"), ("tls", "silent"), ("tls", "TLS hello")])
async def test_relays_reach_each_other_during_a_flood(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str, kind: str
) -> None:
    """At most one of 20 links is not opened. Few descriptors are in use and few lines logged; afterwards nothing is left."""
    monkeypatch.setattr(socket_links, "CONNECT_S", 4 * socket_links.CONNECT_S)  # other tests share the machine
    async with relay("home", **wherever(way, tmp_path)) as home, relay("door") as quiet:
        await opened(quiet, home)
        before, most, links = descriptors(), 0, 0

        async def ask() -> bytes:
            return home.offer("door")

        async with flooded(home, kind):
            for _ in range(ATTEMPTS):
                async with relay("door") as door:
                    links += await door.to("home", ask) is not None
                    most = max(most, descriptors())
                    assert len(home._unproved) <= MAX_UNPROVED
        assert links >= ATTEMPTS - 1
        assert most <= before + MAX_UNPROVED + 40, "of them at most 40 of links, the program's pipes, and connections about to be closed"
        await nothing_left(home)
    assert len([line for line in caplog.messages if "of another relay from 127.0.0.1 is refused" in line]) <= 2 * LINES_PER_MINUTE


@pytest.mark.parametrize("kind", flooder.FIRST)
@pytest.mark.parametrize("way", ["tcp", "tls"])
async def test_a_stranger_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, kind: str) -> None:
    """Whatever it sends, and however slowly; a relay at its address is let in before and after it."""
    monkeypatch.setattr(socket_links, "PROOF_S", 0.3)
    loop = asyncio.get_running_loop()
    async with relay("home", **wherever(way, tmp_path)) as home, relay("door") as door:
        with socket.create_connection(address_of(home)) as stranger:
            stranger.setblocking(False)
            sending = asyncio.create_task(_send(stranger, kind))
            async with asyncio.timeout(5):
                await opened(door, home)
                with suppress(ConnectionError):
                    while await loop.sock_recv(stranger, 1 << 12):
                        pass
                await sending
        await nothing_left(home)
        assert [link.relay for link in home._accepted.values()] == ["door"]


async def _send(stranger: socket.socket, kind: str) -> None:
    """Send what a stranger of this kind does; a slow one goes on until the connection has ended."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        await loop.sock_sendall(stranger, flooder.FIRST[kind])
        if kind == "half-closed":
            stranger.shutdown(socket.SHUT_WR)
        while kind == "slow":
            await asyncio.sleep(0.02)
            await loop.sock_sendall(stranger, flooder.BYTE)


@pytest.mark.parametrize("way", ["tcp", "tls", "unix"])
async def test_a_relay_that_leaves_closes_the_connections_of_strangers(tmp_path: Path, way: str) -> None:
    """Those that it has accepted, in any state, those that it is about to accept, and those that wait."""
    before = descriptors()
    async with relay("home", **wherever(way, tmp_path)) as home:
        strangers = [socket.socket(socket.AF_UNIX if way == "unix" else socket.AF_INET) for _ in range(4)]
        for number, stranger in enumerate(strangers):
            stranger.connect(str(tmp_path / "link") if way == "unix" else address_of(home))
            if number == 0:
                async with asyncio.timeout(5):
                    while not home._unproved:  # noqa: ASYNC110
                        await asyncio.sleep(0)
    for stranger in strangers:
        stranger.settimeout(5)
        with suppress(ConnectionError):
            while stranger.recv(1 << 12):
                pass
        stranger.close()
    assert not home._unproved and not home._accepting
    assert descriptors() == before


async def test_no_descriptor_is_free(caplog: pytest.LogCaptureFixture) -> None:
    """A connection waits in the kernel until one is; meanwhile the relay does not try again in each turn of the event loop."""
    loop = asyncio.get_running_loop()
    async with relay("home") as home:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as stranger:
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                stranger.connect(address_of(home))
                async with asyncio.timeout(5):
                    while not caplog.messages:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert caplog.messages == ["a connection of another relay cannot be accepted: [Errno 24] Too many open files"]
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            stranger.setblocking(False)
            async with asyncio.timeout(5):
                assert (await loop.sock_recv(stranger, 1 << 12)).startswith(MAGIC)
