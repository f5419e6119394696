"""The nats-server that connects the workers of one supervisor: on loopback, on its own port, with a random password."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from avatar_relay.errors import ConfigError
from relay_server.workers.child import ChildProcess, ended_how

START_S = 10.0
POLL_S = 0.02
_USER = "worker"


class NatsChild:
    """A nats-server that can be restarted on the same port. Belongs to one event loop."""

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes]) -> None:
        """`folder` must be private to this user. Raises `ConfigError` if nats-server is not installed."""
        program, setpriv = (shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") for name in ("nats-server", "setpriv"))
        if program is None or setpriv is None:
            text = "not installed (`apt install nats-server util-linux`); or set cluster_nats to a NATS server that is there"
            raise ConfigError(f"workers: {'nats-server' if program is None else 'setpriv'} is {text}")
        self._command = [setpriv, "--pdeathsig", "KILL", program]
        self._folder = folder
        self._password = random_bytes(24).hex()
        self._port = -1
        self.url = ""
        """The URL for workers, with user and password; empty before the first start."""

    async def start(self) -> ChildProcess:
        """Start it; return when it accepts connections. Raises `ConfigError`."""
        settings, log = self._folder / "nats.json", self._folder / "nats.log"
        settings.write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": self._port,
                    "ports_file_dir": str(self._folder),
                    "authorization": {"user": _USER, "password": self._password},
                    "log_file": str(log),
                    "logfile_size_limit": 1_000_000,
                }
            )
        )
        settings.chmod(0o600)
        child = ChildProcess([*self._command, "-c", str(settings)], os.environ)
        try:
            async with asyncio.timeout(START_S):
                while not self._answers(child.pid):
                    if child.ended.done():
                        raise ConfigError(f"workers: nats-server {ended_how(child.ended.result())}: {_last_line(log)}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            child.kill()
            raise ConfigError(f"workers: nats-server does not start within {START_S:g} s: {_last_line(log)}") from None
        return child

    def _answers(self, pid: int) -> bool:
        """Whether it accepts connections. Reads the port that it chose from its ports file."""
        if self._port < 0:
            try:
                url = json.loads((self._folder / f"nats-server_{pid}.ports").read_text())["nats"][0]
            except (OSError, ValueError):
                return False
            self._port = int(url.rpartition(":")[2])
            self.url = f"nats://{_USER}:{self._password}@127.0.0.1:{self._port}"
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self._port)) == 0


def _last_line(log: Path) -> str:
    try:
        return (log.read_text(errors="replace").splitlines() or [""])[-1][:300]
    except OSError:
        return "it wrote no log"
