"""Builds the paced ALSA device, configures ALSA for it, and reads its recorded output."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("pcm_paced.c")
ALSA_BASE_CONFIG = Path("/usr/share/alsa/alsa.conf")
RATE_HZ = 48_000


@dataclass(frozen=True, slots=True)
class Event:
    """A start, underrun (xrun) or stop of the device, with its time and emitted frame number."""

    kind: str
    time_ns: int
    frame: int


class PacedDevice:
    """A configured device and its files, which are complete even if the player was killed."""

    def __init__(self, library: Path, folder: Path, *, fields: str = "", channels: int = 1) -> None:
        """`fields` are added to the device's configuration, such as `ppm 100` (see the source)."""
        self.config = folder / "asound.conf"
        self._library = library
        self._unplugged = folder / "unplugged"
        self._unplug_at_start = folder / "unplug_at_start"
        self._stuck = folder / "stuck"
        self._file = folder / "heard.raw"
        self._log = folder / "heard.log"
        self.configure(fields, channels=channels)

    def configure(self, fields: str = "", *, name: str = "paced", rate_hz: int = RATE_HZ, channels: int = 1, more: str = "") -> None:
        """Reconfigure the card from its next opening on; `more` is additional configuration, in which PACED stands for its definition."""
        definition = (
            f'type paced file "{self._file}" log "{self._log}" rate {rate_hz} channels {channels} '
            f'unplugged "{self._unplugged}" unplug_at_start "{self._unplug_at_start}" stuck "{self._stuck}" {fields}'
        )
        beside = self.config.with_suffix(".new")
        beside.write_text(
            f"<{ALSA_BASE_CONFIG}>\n"
            f'pcm_type.paced {{ lib "{self._library}" }}\n'
            f"pcm.{name} {{ {definition} }}\n"
            f'pcm.{name}_slow {{ type plug slave {{ pcm "{name}" rate {rate_hz} }} }}\n' + more.replace("PACED", definition),
            encoding="ascii",
        )
        beside.replace(self.config)  # atomic: a reader sees the old or the new file

    def unplug(self) -> None:
        """Unplug the card: it cannot be opened, and each open handle is permanently dead."""
        self._unplugged.touch()

    def unplug_at_next_start(self) -> None:
        """Unplug the card when the next stream starts."""
        self._unplug_at_start.touch()

    def plug_in(self) -> None:
        """Plug the card in again."""
        self._unplugged.unlink()

    def hang(self, *calls: str) -> None:
        """Make these calls block until `stop_hanging`, of open, start, stop, close and xrun; by default start, stop and close."""
        beside = self._stuck.with_suffix(".new")
        beside.write_text(" ".join(calls), encoding="ascii")
        beside.replace(self._stuck)

    def stop_hanging(self) -> None:
        """Unblock the calls that `hang` blocked."""
        self._stuck.unlink()

    def samples(self) -> NDArray[np.int16]:
        """All samples that a converter would have emitted since the first start."""
        return np.fromfile(self._file, np.int16)

    def words(self) -> NDArray[np.int32]:
        """All emitted samples of a card with 32-bit samples."""
        return np.fromfile(self._file, np.int32)

    def events(self) -> list[Event]:
        """All events in order. The frame count continues when a device is reopened; the file omits the time between."""
        lines = self._log.read_text(encoding="ascii").splitlines() if self._log.exists() else []
        return [Event(kind, int(time_ns), int(frame)) for kind, time_ns, frame in map(str.split, lines)]

    def heard_between_first_and_last_sound(self) -> NDArray[np.int16]:
        """The samples from the first to the last non-zero one."""
        samples = self.samples()
        sounding = np.flatnonzero(samples)
        return samples[sounding[0] : sounding[-1] + 1] if len(sounding) else samples[:0]


def build_library() -> Path:
    """Build the plug-in, or take it from a cache keyed by its source. Skips the test if it cannot be built."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the ALSA test device: apt-get install gcc libc6-dev")
    if not Path("/usr/include/alsa/asoundlib.h").exists():
        pytest.skip("no ALSA headers for the ALSA test device: apt-get install libasound2-dev")
    key = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"avatar-relay-paced-{os.getuid()}" / key / "libasound_module_pcm_paced.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = library.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-DPIC", "-O2", "-Wall", "-Wextra", "-o", str(partial), str(SOURCE), "-lasound"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        partial.replace(library)
    return library


@pytest.fixture(scope="session")
def paced_library() -> Path:
    """The compiled plug-in."""
    return build_library()


@pytest.fixture
def paced_device(paced_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PacedDevice]:
    """A paced device with fresh files, as ALSA's only output."""
    device = PacedDevice(paced_library, tmp_path)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    yield device


@pytest.fixture
def deep_paced_device(paced_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PacedDevice]:
    """A paced device with a buffer of 170 ms, which does not underrun on a loaded machine: for tests of exact samples."""
    device = PacedDevice(paced_library, tmp_path, fields="buffer_min 8192")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    yield device
