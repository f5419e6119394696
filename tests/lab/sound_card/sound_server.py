"""A private sound server that is ALSA's default output."""

from __future__ import annotations

import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.lab.sound_card.paced_card import ALSA_BASE_CONFIG

START_S = 20.0
Server = TypeVar("Server", bound="SoundServer")


class SoundServer(ABC):
    """A server that can be killed and restarted. Each kind of server is a subclass."""

    def __init__(self, folder: Path, alsa: str, variables: Mapping[str, str]) -> None:
        """`alsa` is ALSA configuration that makes the server its default output; `variables` connect server and clients."""
        self.folder = folder
        config = folder / "asound-of-clients.conf"
        config.write_text(f"<{ALSA_BASE_CONFIG}>\n{alsa}\n", encoding="ascii")
        self.environment = {"ALSA_CONFIG_PATH": str(config), "XDG_RUNTIME_DIR": str(folder), **variables}
        """Environment variables for clients of the server."""
        self._programs: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it accepts connections."""

    def kill(self) -> None:
        """Kill it, like a crash."""
        for program in reversed(self._programs):
            program.kill()
            program.wait()
        self._programs.clear()

    def launch(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """Start one of the server's programs, with its log in the folder."""
        environment = {**os.environ, **self.environment, "HOME": str(self.folder), **variables}
        with (self.folder / f"{Path(command[0]).name}.log").open("ab") as log:
            self._programs.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def wait_for(self, path: Path) -> None:
        """Wait until a program has created this file, such as its socket."""
        deadline = time.monotonic() + START_S
        while not path.exists():
            assert self._programs[-1].poll() is None and time.monotonic() < deadline, f"no {path.name}; see the logs in {self.folder}"
            time.sleep(0.05)


@contextmanager
def as_default_output(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run the server and direct the output of child processes to it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        server.kill()
