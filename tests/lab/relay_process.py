"""A relay as a program of its own, which can be killed and started again at the same address."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RelayProcess:
    """One `relay-server`."""

    module = "relay_server"
    """What is started."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._arguments: Sequence[str] = arguments
        self._environment = {"GRPC_VERBOSITY": "NONE", **environment}
        self._process: asyncio.subprocess.Process | None = None
        self.listening_us = 0
        """When it was seen to listen last."""

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; returns when it listens."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self.module, "--listen", self.address, *self._arguments, env=os.environ | self._environment
        )
        host, _, port = self.address.rpartition(":")
        while True:
            if self._process.returncode is not None:
                raise RuntimeError(f"the relay ended with {self._process.returncode}")
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.005)
                continue
            self.listening_us = time.monotonic_ns() // 1_000
            writer.close()
            return

    async def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def terminate(self) -> float:
        """SIGTERM; returns how long it took to end, in seconds."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        return time.monotonic() - began

    def rss_kib(self) -> int:
        """Resident memory."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])

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
