"""A relay with an operator, devices waiting to be paired there, and a man in the middle."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc

from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as admin
from edge_client.link.pairing import Pairing
from edge_client.link.relay_finder import FoundRelay, SearchClock
from edge_client.paired import Paired, PairingFile
from relay_server.access.scopes import Role
from relay_server.server import RelayServer
from tests.relay_server.access.guarded import Access, Authority, code_of, over_tls, trusting

PATIENCE_S = 20.0
ATTACH, PAIR, PAIR_DEVICE = (
    f"/avatar_relay.v1.{name}" for name in ("DeviceService/Attach", "PairingService/Pair", "AdminService/PairDevice")
)


class Desk:
    """A relay with an operator."""

    def __init__(self, relay: RelayServer, access: Access, authority: Authority, token: str) -> None:
        self.relay = relay
        self.address = relay.addresses[0]
        self.access = access
        self.authority = authority
        self.token = token

    async def call(self, method: str, token: str | None, request: Any = None) -> tuple[grpc.StatusCode, Reason | None]:
        async with grpc.aio.secure_channel(self.address, trusting(self.authority)) as channel:
            sent = b"" if request is None else request.SerializeToString()
            return await code_of(channel, method, token, sent=sent, wait_s=PATIENCE_S)

    async def pair(self, shown: str, code: str = "", **more: Any) -> tuple[grpc.StatusCode, Reason | None]:
        """Do what `relayctl pair` does, optionally with `code` instead of the displayed one."""
        name, _, its = shown.rpartition("-")
        return await self.call(PAIR_DEVICE, self.token, admin.PairDeviceRequest(name=name, code=code or its, **more))


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@asynccontextmanager
async def desk(authority: Authority, folder: Path, **settings: Any) -> AsyncIterator[Desk]:
    access = Access(made(folder))
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    async with over_tls(authority, access, **settings) as relay:
        yield Desk(relay, access, authority, token)


class Device:
    """A device waiting to be paired, on a thread."""

    def __init__(self, address: str, folder: Path, name: str) -> None:
        self.stopped = threading.Event()
        self.file = PairingFile(folder / name)
        self.ahead_us = 0
        """Increase it to let time pass for the device."""
        clock = SearchClock(lambda: time.monotonic_ns() // 1_000 + self.ahead_us, self.stopped.wait)
        self.pairing = Pairing(name, clock, os.urandom, self.file.write)
        self.ends: asyncio.Task[Paired] = asyncio.create_task(asyncio.to_thread(self.pairing.pair, FoundRelay(address, True)))
        self.ends.add_done_callback(lambda done: done.cancelled() or done.exception())  # stopping it ends in an error

    async def shows(self, but: str = "") -> str:
        """Return the displayed code as soon as it differs from `but`."""
        async with asyncio.timeout(PATIENCE_S):
            while self.pairing.shown in ("", but):
                assert not self.ends.done()
                await asyncio.sleep(0.02)
        return self.pairing.shown

    async def hidden(self) -> None:
        """Wait until its exchange has failed."""
        async with asyncio.timeout(PATIENCE_S):
            while self.pairing.shown:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@contextmanager
def waiting(address: str, folder: Path, *names: str) -> Iterator[list[Device]]:
    devices = [Device(address, folder, name) for name in names]
    try:
        yield devices
    finally:
        for device in devices:
            device.stopped.set()


@asynccontextmanager
async def in_between(relay: str, folder: Path) -> AsyncIterator[str]:
    """A man in the middle: presents its own certificate for the same name and forwards everything. Yields its HOST:PORT."""
    made(folder)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(*Authority(folder, "evil").issue("localhost"))
    own.set_alpn_protocols(["h2"])
    other = ssl.create_default_context()
    other.check_hostname, other.verify_mode = False, ssl.CERT_NONE
    other.set_alpn_protocols(["h2"])
    host, _, port = relay.rpartition(":")

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, to_relay = await asyncio.open_connection(host, int(port), ssl=other)
        await asyncio.gather(copy(reader, to_relay), copy(theirs, writer))

    server = await asyncio.start_server(serve, "localhost", 0, ssl=own)
    try:
        yield f"localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
