"""The supervisor: starts the workers and what connects them, restarts those that die, and ends all of them together.

Each worker is a relay, and all form a cluster over loopback. A worker that dies loses its streams; clients reconnect through the same
address, to any worker. If an operator drains one worker, all drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from avatar_relay.command import EXIT_START_FAILED
from avatar_relay.errors import ConfigError
from avatar_relay.service_manager import Heart, ServiceManager
from relay_server.config import ADMIN_OFF, RelayConfig
from relay_server.links.socket_links import socket_path
from relay_server.workers.assignment import Assignment
from relay_server.workers.child import ChildProcess, ended_how
from relay_server.workers.nats_child import NatsChild
from relay_server.workers.port_guard import PortGuard
from relay_server.workers.reports import WorkerReports
from relay_server.workers.restarts import RestartPolicy

logger = logging.getLogger(__name__)

STOP_MARGIN_S = 10.0
"""How much longer than the grace period of a drain a worker may take to end."""
_METRICS_PORT = "OTEL_EXPORTER_PROMETHEUS_PORT"


def monotonic_us() -> int:
    """A monotonic clock in µs."""
    return time.monotonic_ns() // 1_000


class ToldError(Exception):
    """A worker did not start, and has reported the reason itself."""


class WorkersSupervisor:
    """Supervises the workers of one relay. Belongs to one event loop; `run` is called once."""

    def __init__(self, config: RelayConfig, flags: Sequence[str], folder: Path) -> None:
        """`flags` are the relay's, and are passed to workers. `folder` must be private to this user. Raises `ConfigError`."""
        self._config = config
        self._flags = list(flags)
        self._folder = folder
        self._guards = [PortGuard("listen", config.listen)]
        self._admin = config.admin_listen
        if self._admin not in ("", ADMIN_OFF):
            self._guards.append(PortGuard("admin_listen", self._admin))
            self._admin = self._guards[1].address
        own = config.cluster_relay or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40] + f"-{os.urandom(2).hex()}"
        self._siblings = f"{own}-w"
        self._nats = None if config.cluster_nats else NatsChild(folder, os.urandom)
        self._secret = config.cluster_secret_file
        if self._nats is not None:
            self._secret = folder / "secret"
            self._secret.write_bytes(os.urandom(32))
            self._secret.chmod(0o600)
        self._starts = 0
        self._running: dict[str, ChildProcess] = {}
        self._asked = asyncio.Event()
        self._manager = ServiceManager(os.environ)

    async def run(self, ready: Callable[[str], None]) -> None:
        """Run until SIGTERM, SIGINT or a drain; `ready` gets HOST:PORT when all workers listen. Raises `ConfigError`, `ToldError`."""
        loop = asyncio.get_running_loop()
        for asks in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(asks, self._asked.set)
        listening = [asyncio.Event() for _ in range(self._config.workers)]
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [tasks.create_task(self._beat())]
                if self._nats is not None:
                    started = asyncio.Event()
                    keeping.append(tasks.create_task(self._keep("nats-server", self._run_nats, started)))
                    await started.wait()
                for number, event in enumerate(listening, 1):
                    keeping.append(tasks.create_task(self._keep(f"worker {number}", partial(self._run_worker, number), event)))
                    if number == 1:
                        await self._or_asked(event)  # one worker alone reports what is wrong with the settings
                for event in listening:
                    await self._or_asked(event)
                if not self._asked.is_set():
                    self._tell_ready(ready)
                await self._asked.wait()
                await self._stop()
                for task in keeping:
                    task.cancel()
        finally:
            for child in self._running.values():
                child.kill()
            for guard in self._guards:
                guard.close()

    # --- running processes ----------------------------------------------------------------------------------------

    async def _keep(self, name: str, run_once: Callable[[asyncio.Event], Awaitable[int]], started: asyncio.Event) -> None:
        """Run something repeatedly, with the delays of `RestartPolicy`; `started` is set when it serves for the first time."""
        restarts = RestartPolicy()
        while not self._asked.is_set():
            began_us = monotonic_us()
            status = await run_once(started)
            if self._asked.is_set():
                return
            if not started.is_set():
                raise ToldError if status == EXIT_START_FAILED else ConfigError(f"workers: {name} {ended_how(status)} while it started")
            wait_us = restarts.wait_us(monotonic_us() - began_us)
            logger.error("%s %s; it is started again in %d ms", name, ended_how(status), wait_us // 1_000)
            await asyncio.sleep(wait_us / 1e6)

    async def _run_nats(self, started: asyncio.Event) -> int:
        assert self._nats is not None
        try:
            child = await self._nats.start()
        except ConfigError as error:
            if not started.is_set():
                raise
            logger.error("%s", error)
            return 1
        started.set()
        return await self._until_ended("nats-server", child)

    async def _run_worker(self, number: int, started: asyncio.Event) -> int:
        self._starts += 1
        run = f"{number}-{self._starts}"
        reports = WorkerReports(self._folder / f"worker-{run}")
        try:
            child = ChildProcess(
                [sys.executable, "-P", "-m", "relay_server.worker", *self._flags],
                self._environment(number) | reports.environment(),
                self._assignment(number, run).encode(),
            )
            watching = asyncio.create_task(self._watch(f"worker {number}", child, reports, started))
            try:
                status = await self._until_ended(f"worker {number}", child)
            finally:
                watching.cancel()
            if status == 0:
                self._asked.set()
            return status
        finally:
            reports.close()
            socket_path(self._folder, run).unlink(missing_ok=True)

    async def _until_ended(self, name: str, child: ChildProcess) -> int:
        self._running[name] = child
        self._tell_status()
        status = await asyncio.shield(child.ended)
        del self._running[name]
        self._tell_status()
        return status

    async def _watch(self, name: str, child: ChildProcess, reports: WorkerReports, started: asyncio.Event) -> None:
        """Kill a worker that hangs; note when it begins to serve or to drain."""

        async def see(event: asyncio.Event, then: asyncio.Event) -> None:
            await event.wait()
            then.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(see(reports.ready, started))
            tasks.create_task(see(reports.draining, self._asked))
            while not reports.second_passed():  # noqa: ASYNC110
                await asyncio.sleep(1.0)
            logger.error("%s hangs, and is killed", name)
            child.kill()

    def _assignment(self, number: int, run: str) -> Assignment:
        return Assignment(
            number=number,
            supervisor=os.getpid(),
            listen=self._guards[0].address,
            admin_listen=self._admin,
            cluster_nats=self._config.cluster_nats if self._nats is None else [self._nats.url],
            cluster_relay=f"{self._siblings}{run}",
            siblings=self._siblings,
            sockets=str(self._folder),
            cluster_secret_file=str(self._secret),
        )

    def _environment(self, number: int) -> dict[str, str]:
        """The supervisor's environment, with a separate port for each worker's metrics if Prometheus scrapes them."""
        environment = {name: value for name, value in os.environ.items() if name not in ("WATCHDOG_PID", "PYTHONSAFEPATH")}
        if "prometheus" in environment.get("OTEL_METRICS_EXPORTER", ""):
            first = environment.get(_METRICS_PORT, "9464")
            environment[_METRICS_PORT] = str(int(first) + number - 1) if first.isdecimal() else first
        return environment

    # --- shutdown -------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Drain all workers together, then stop nats-server."""
        self._manager.tell("STOPPING=1")
        logger.info("draining")
        nats = self._running.get("nats-server")
        within_s = self._config.drain_grace_us / 1e6 + STOP_MARGIN_S
        await asyncio.gather(*(child.stop(within_s) for child in self._running.values() if child is not nats))
        if nats is not None:
            await nats.stop(STOP_MARGIN_S)

    async def _or_asked(self, event: asyncio.Event) -> None:
        """Wait for an event, or until the stop request."""
        waits = [asyncio.create_task(one.wait()) for one in (event, self._asked)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- notifications --------------------------------------------------------------------------------------------

    def _tell_ready(self, ready: Callable[[str], None]) -> None:
        ready(self._guards[0].address)
        self._manager.tell("READY=1")

    def _tell_status(self) -> None:
        workers = sum(name != "nats-server" for name in self._running)
        self._manager.tell_status(f"{workers} of {self._config.workers} workers run")

    async def _beat(self) -> None:
        heart = Heart(self._manager, ("loop",), monotonic_us)
        while True:
            heart.beat("loop")
            await asyncio.sleep(1.0)


def supervise(config: RelayConfig, flags: Sequence[str], ready: Callable[[str], None]) -> None:
    """Run a relay of several workers until it is stopped; `flags` are those of the command line. Raises `ConfigError`.

    Exits with status 2 if a worker did not start and has reported the reason.
    """

    async def run(folder: Path) -> None:
        await WorkersSupervisor(config, flags, folder).run(ready)

    folder = Path(tempfile.mkdtemp(prefix="relay-server-"))
    try:
        asyncio.run(run(folder))
    except ExceptionGroup as failed:
        if failed.subgroup(ToldError) is None:
            raise
        raise SystemExit(EXIT_START_FAILED) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
