"""Our programs as processes that can be killed and started again."""

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
    """A port on loopback where nothing listens at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


class RestartedProgram:
    """A module that runs as a program. It is killed with this process, whatever ends that one."""

    def __init__(self, module: str, *arguments: str, log: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        """`log` is appended to with its standard error; without it, that goes to ours."""
        self._command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, *arguments]
        self._log = log
        self._environment = os.environ | dict(environment or {})
        self.process: asyncio.subprocess.Process | None = None
        self.started_us = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start it."""
        self.started_us = now_us()
        with self._log.open("ab") if self._log else nullcontext() as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stderr=log, env=self._environment
            )

    async def kill(self) -> None:
        """kill -9, if it runs."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def terminate(self) -> float:
        """SIGTERM; returns how long it took to end, in seconds."""
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
        """kill -9. Raises `RuntimeError` if it had ended by itself: nothing should make it."""
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
        """When it was seen to listen last."""

    async def start(self) -> None:
        """Start it; returns when it listens. Raises `RuntimeError` if it ends instead."""
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
        """Resident memory."""
        return resident_kib(self.pid)

    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> list[str]:
        """Names of its threads."""
        names: list[str] = []
        for comm in Path(f"/proc/{self.pid}/task").glob("*/comm"):
            with suppress(FileNotFoundError):  # it ended meanwhile
                names.append(comm.read_text(encoding="ascii").strip())
        return names
