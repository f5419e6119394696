"""Runs our programs as processes that can be killed and restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

from tests.lab.stamp import now_us


def free_port() -> int:
    """A currently free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_kib(pid: int) -> int:
    """Resident memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


class RestartedProgram:
    """A module run as a program. It is killed when this process ends, for any reason."""

    def __init__(self, module: str, *arguments: str, log: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Standard error is appended to `log`, or inherited if there is none."""
        self._command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, *arguments]
        self._log = log
        self._environment = os.environ | dict(environment or {})
        self.process: asyncio.subprocess.Process | None = None
        self.started_us = 0

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start the program."""
        self.started_us = now_us()
        with self._log.open("ab") if self._log else nullcontext() as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stderr=log, env=self._environment
            )

    async def kill(self) -> None:
        """Send SIGKILL if it is running."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def terminate(self) -> float:
        """Send SIGTERM; returns the seconds that it took to end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await self.process.wait()
        return time.monotonic() - began


class EdgeProgram(RestartedProgram):
    """An edge client with a virtual sound device and no face."""

    def __init__(self, device_id: str, relay: str, log: Path) -> None:
        quiet = ("--headless", "--audio-sink", "virtual", "--renderer", "none", "--log-level", "warning")
        state = {"XDG_STATE_HOME": str(log.parent.absolute() / f"{device_id}.state")}
        super().__init__("edge_client", "--relay", relay, "--device-id", device_id, *quiet, log=log, environment=state)
        self.device_id = device_id

    async def kill(self) -> None:
        """Send SIGKILL. Raises `RuntimeError` if it had already ended, which it never should."""
        assert self.process is not None
        if self.process.returncode is not None:
            raise RuntimeError(f"device {self.device_id} ended by itself with {self.process.returncode}; see {self._log}")
        await super().kill()


class RelayProgram(RestartedProgram):
    """A relay, always at the same address."""

    def __init__(self, *arguments: str, module: str = "relay_server", environment: Mapping[str, str] | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        super().__init__(module, "--listen", self.address, *arguments, environment={"GRPC_VERBOSITY": "NONE", **(environment or {})})
        self.listening_us = 0
        """Time at which it was last found to be listening, in µs."""

    async def start(self) -> None:
        """Start it and wait until it is listening. Raises `RuntimeError` if it ends instead."""
        await super().start()
        assert self.process is not None
        host, _, port = self.address.rpartition(":")
        while True:
            if self.process.returncode is not None:
                raise RuntimeError(f"the relay ended with {self.process.returncode}")
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.005)
                continue
            self.listening_us = now_us()
            writer.close()
            return

    def rss_kib(self) -> int:
        """Resident memory in KiB."""
        return resident_kib(self.pid)

    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> list[str]:
        """Names of its threads."""
        names: list[str] = []
        for comm in Path(f"/proc/{self.pid}/task").glob("*/comm"):
            with suppress(FileNotFoundError):  # the thread ended meanwhile
                names.append(comm.read_text(encoding="ascii").strip())
        return names
