"""A private PulseAudio with one null sink, and what it played."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.lab.sound_card.paced_card import ALSA_BASE_CONFIG, RATE_HZ

START_S = 20.0


class PulseServer:
    """Starts and ends; ALSA's default output leads to it."""

    def __init__(self, folder: Path) -> None:
        """Skips the test if PulseAudio is not installed."""
        if shutil.which("pulseaudio") is None or shutil.which("parec") is None:
            pytest.skip("no PulseAudio: apt-get install pulseaudio pulseaudio-utils")
        self._folder = folder
        self._socket = folder / "pulse.sock"
        self.config = folder / "asound.conf"
        self.config.write_text(f"<{ALSA_BASE_CONFIG}>\npcm.!default {{ type pulse }}\nctl.!default {{ type pulse }}\n")
        self.environment = {
            "ALSA_CONFIG_PATH": str(self.config),
            "PULSE_SERVER": f"unix:{self._socket}",
            "XDG_RUNTIME_DIR": str(folder),
        }
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._socket.unlink(missing_ok=True)
        options = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=no", "--realtime=no"]
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}",
            f"module-null-sink sink_name=out format=s16le rate={RATE_HZ} channels=1",
        ]
        loads = [part for module in modules for part in ("-L", module)]
        variables = os.environ | self.environment | {"HOME": str(self._folder)}
        with (self._folder / "pulse.log").open("ab") as log:
            command = ["pulseaudio", *options, *loads]
            self._server = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._socket.exists():
            assert self._server.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def ask(self, *words: str) -> str:
        """What `pactl` answers."""
        ran = subprocess.run(["pactl", *words], env=os.environ | self.environment, capture_output=True, text=True, check=True)
        return ran.stdout

    @contextmanager
    def recorded(self, file: Path) -> Iterator[None]:
        """Record what the sink plays, from now on."""
        command = ["parec", "--latency-msec=10", "-d", "out.monitor", "--format=s16le", f"--rate={RATE_HZ}", "--channels=1", "--raw"]
        with file.open("wb") as output:
            recorder = subprocess.Popen(command, env=os.environ | self.environment, stdin=subprocess.DEVNULL, stdout=output)
            try:
                time.sleep(2.0)
                yield
                time.sleep(0.5)
            finally:
                recorder.terminate()
                recorder.wait()


def recording(file: Path) -> NDArray[np.int16]:
    """What `recorded` left."""
    return np.fromfile(file, np.int16)


@pytest.fixture
def pulse_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """A server that runs, as ALSA's default output."""
    server = PulseServer(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        server.kill()
