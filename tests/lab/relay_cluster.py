"""A cluster of real relay and nats-server processes that can be killed individually."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.lab.fault_proxy import FaultProxy
from tests.lab.programs import Program, python, running
from tests.lab.restarted_programs import free_port

START_S = 90.0
NATS = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
"""Debian's package nats-server; None if it is not installed."""


@asynccontextmanager
async def nats_server(folder: Path, port: int, routes: Sequence[int] = ()) -> AsyncIterator[Program]:
    """Run a NATS server, alone or in a cluster: `routes` are the cluster ports of all servers, its own first."""
    assert NATS is not None
    command = [NATS, "-a", "127.0.0.1", "-p", str(port)]
    if routes:
        urls = [f"nats://127.0.0.1:{route}" for route in routes]
        command += ["--cluster_name", "nats", "--cluster", urls[0], "--routes", ",".join(urls[1:]), "--no_advertise"]
    async with running("nats", command, folder / f"nats-{port}.log", {}) as program:
        await program.wait_for("Server is ready", START_S)
        yield program


class RelayCluster:
    """Relays by name. Leaving the `with` block stops all processes."""

    def __init__(self, folder: Path, *arguments: str, nats_servers: int = 1, with_lines: bool = False, with_links: bool = False) -> None:
        """`arguments` are passed to each relay. `with_lines` puts a proxy between each relay and each NATS server; `with_links` has relays
        send payloads to each other directly."""
        self._folder = folder
        self._arguments = (*arguments, "--cluster-listen", "127.0.0.1:0") if with_links else arguments
        self._stack = AsyncExitStack()
        self._starts = 0
        self._nats_ports = [free_port() for _ in range(nats_servers)]
        self._routes = [free_port() for _ in range(nats_servers)] if nats_servers > 1 else []
        self._with_lines = with_lines
        self.lines: dict[str, list[FaultProxy]] = {}
        """For each relay, the proxies to the NATS servers."""
        self.nats: list[Program] = []
        self.addresses: dict[str, str] = {}
        self.relays: dict[str, Program] = {}
        (folder / "secret").write_bytes(b"s" * 32)

    async def __aenter__(self) -> RelayCluster:
        self.nats = [await self._start_nats(number) for number in range(len(self._nats_ports))]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def without_nats(self, number: int = 0) -> AsyncIterator[None]:
        """Kill a NATS server; restart it at the end of the `with` block."""
        self.nats[number].kill()
        try:
            yield
        finally:
            self.nats[number] = await self._start_nats(number)

    async def _start_nats(self, number: int) -> Program:
        routes = self._routes[number:] + self._routes[:number]
        return await self._stack.enter_async_context(nats_server(self._folder, self._nats_ports[number], routes))

    async def start(self, name: str, module: str = "relay_server") -> str:
        """Start or restart a relay, whose program is `module`; returns its address."""
        address = self.addresses.setdefault(name, f"127.0.0.1:{free_port()}")
        nats = [f"127.0.0.1:{port}" for port in self._nats_ports]
        if self._with_lines and name not in self.lines:
            self.lines[name] = [await self._stack.enter_async_context(FaultProxy(server)) for server in nats]
        servers = (
            ",".join(f"nats://{line.address}" for line in self.lines[name]) if self._with_lines else ",".join(map("nats://{}".format, nats))
        )
        command = [*python(module), "--listen", address, "--cluster-nats", servers, "--cluster-relay", name]
        command += ["--cluster-secret-file", str(self._folder / "secret"), "--log-level", "info", *self._arguments]
        self._starts += 1
        log = self._folder / f"relay-{name}-{self._starts}.log"
        self.relays[name] = await self._stack.enter_async_context(running(name, command, log, {}))
        await self.relays[name].wait_for(r"listening on", START_S)
        return address
