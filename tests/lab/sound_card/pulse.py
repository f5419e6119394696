"""A private PulseAudio with one sink: a null sink, or the paced card."""

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

from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice
from tests.lab.sound_card.sound_server import SoundServer, as_default_output

ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }"
SINK = f"sink_name=out format=s16le rate={RATE_HZ} channels=1"


class PulseServer(SoundServer):
    """PulseAudio with its default settings."""

    def __init__(self, folder: Path, card: PacedDevice | None = None) -> None:
        """Skips the test if PulseAudio is not installed. With a card, `module-alsa-sink` plays to it."""
        if shutil.which("pulseaudio") is None or shutil.which("parec") is None:
            pytest.skip("no PulseAudio: apt-get install pulseaudio pulseaudio-utils")
        self._socket = folder / "pulse.sock"
        self._card = card
        super().__init__(folder, ALSA, {"PULSE_SERVER": f"unix:{self._socket}"})

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._socket.unlink(missing_ok=True)
        options = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=no", "--realtime=no"]
        sink = f"module-null-sink {SINK}" if self._card is None else f"module-alsa-sink device=paced {SINK}"
        modules = [sink, f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"]
        variables = {} if self._card is None else {"ALSA_CONFIG_PATH": str(self._card.config)}
        self.launch(["pulseaudio", *options, *(part for module in modules for part in ("-L", module))], variables)
        self.wait_for(self._socket)

    def ask(self, *words: str) -> str:
        """Run `pactl`; returns its output."""
        ran = subprocess.run(["pactl", *words], env=os.environ | self.environment, capture_output=True, text=True, check=True)
        return ran.stdout

    @contextmanager
    def recorded(self, file: Path) -> Iterator[None]:
        """Record the sink's output for the duration of the `with` block."""
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
    """Read a recording made by `recorded`."""
    return np.fromfile(file, np.int16)


@pytest.fixture
def pulse_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """A running server with a null sink, as ALSA's default output."""
    with as_default_output(PulseServer(tmp_path), monkeypatch) as server:
        yield server
