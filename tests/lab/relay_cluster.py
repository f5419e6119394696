"""Real relays and a real nats-server as programs: a cluster whose parts can be killed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.lab.programs import Program, python, running
from tests.lab.restarted_programs import free_port

START_S = 30.0
NATS = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
"""Debian's package nats-server; None if it is not installed."""


@asynccontextmanager
async def nats_server(folder: Path, port: int) -> AsyncIterator[Program]:
    """A NATS server without a cluster of its own."""
    assert NATS is not None
    async with running("nats", [NATS, "-a", "127.0.0.1", "-p", str(port)], folder / f"nats-{port}.log", {}) as program:
        await program.wait_for("Server is ready", START_S)
        yield program


class RelayCluster:
    """Relays by name. Leaving the block stops all that runs."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """`arguments` are given to each relay."""
        self._folder = folder
        self._arguments = arguments
        self._stack = AsyncExitStack()
        self._starts = 0
        self.nats_url = f"nats://127.0.0.1:{free_port()}"
        self.addresses: dict[str, str] = {}
        self.relays: dict[str, Program] = {}
        (folder / "secret").write_bytes(b"s" * 32)

    async def __aenter__(self) -> RelayCluster:
        await self._start_nats()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def without_nats(self) -> AsyncIterator[None]:
        """Kill NATS; start it again at the end of the block."""
        self.nats.kill()
        yield
        await self._start_nats()

    async def _start_nats(self) -> None:
        port = int(self.nats_url.rpartition(":")[2])
        self.nats = await self._stack.enter_async_context(nats_server(self._folder, port))

    async def start(self, name: str) -> str:
        """Start a relay, or start it again; returns its address."""
        address = self.addresses.setdefault(name, f"127.0.0.1:{free_port()}")
        command = [*python("relay_server"), "--listen", address, "--cluster-nats", self.nats_url, "--cluster-relay", name]
        command += ["--cluster-secret-file", str(self._folder / "secret"), "--log-level", "info", *self._arguments]
        self._starts += 1
        log = self._folder / f"relay-{name}-{self._starts}.log"
        self.relays[name] = await self._stack.enter_async_context(running(name, command, log, {}))
        await self.relays[name].wait_for(r"listening on", START_S)
        return address
