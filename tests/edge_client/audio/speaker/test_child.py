from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.speaker.channel import DeviceOpened, Settings
from edge_client.audio.speaker.child import SpeakerChild
from tests.lab.sound_card.paced_card import PacedDevice, paced_device, paced_library
from tests.lab.sound_card.pipewire import PipeWireServer
from tests.lab.sound_card.pulse import PulseServer
from tests.lab.sound_card.sound_server import SoundServer, as_default_output

__all__ = ["paced_device", "paced_library"]

_LIST_MODULES = "import sys; import edge_client.audio.speaker.__main__; print(*sorted(sys.modules))"


def test_child_is_small(paced_device: PacedDevice) -> None:
    """The child imports numpy and pyaudio, and nothing heavy."""
    done = subprocess.run([sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    modules = set(done.stdout.splitlines()[-1].split())
    assert {"numpy", "pyaudio"} <= modules
    heavy = {"grpc", "pygame", "OpenGL", "asyncio", "google.protobuf", "opentelemetry", "soxr", "opuslib_next", "PIL", "avatar_relay"}
    assert not modules & heavy


_START_AND_WAIT = """
import time
from edge_client.audio.speaker.channel import Settings
from edge_client.audio.speaker.child import SpeakerChild
speaker = SpeakerChild(Settings("paced", 48_000, 1_024), lambda memory: None, lambda *_: print("open", flush=True))
time.sleep(60)
"""


def test_child_ends_with_its_parent(paced_device: PacedDevice) -> None:
    """A child whose parent is killed does not stay alive and hold the device."""
    with subprocess.Popen([sys.executable, "-c", _START_AND_WAIT], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"open\n"
        (child,) = _children(parent.pid)
        parent.kill()
    _wait_until_gone(child)


@pytest.mark.slow
@pytest.mark.parametrize("hangs_in", ["spinning", "closing", "opening"])
def test_child_that_hangs_ends_without_its_parent(paced_device: PacedDevice, hangs_in: str) -> None:
    """A child whose parent is killed does not stay alive, even if a PortAudio call never returns."""
    if hangs_in == "opening":
        paced_device.hang()
    with subprocess.Popen([sys.executable, "-c", _START_AND_WAIT], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        if hangs_in == "opening":
            while not (children := _children(parent.pid)):
                time.sleep(0.01)
        else:
            assert parent.stdout.readline() == b"open\n"
            children = _children(parent.pid)
        (child,) = children
        if hangs_in == "spinning":
            paced_device.unplug()
            time.sleep(0.5)
        else:
            paced_device.hang()
        time.sleep(1.0)
        parent.kill()
    _wait_until_gone(child)


def _wait_until_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _opened_or_ended(device: str = "paced", buffer_frames: int = 1_024) -> tuple[SpeakerChild, list[DeviceOpened]]:
    """Wait for a child that plays, or has ended."""
    opened: list[DeviceOpened] = []
    child = SpeakerChild(Settings(device, 48_000, buffer_frames), lambda memory: None, lambda _, told: opened.append(told))
    deadline = time.monotonic() + 30
    while not opened and child.exit_text() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child, opened


def _exit_text(child: SpeakerChild) -> str:
    deadline = time.monotonic() + 5
    while (text := child.exit_text()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return text


def test_open_and_end_leave_nothing_behind(paced_device: PacedDevice) -> None:
    """A child ends by itself on request, and its descriptors are closed."""
    before = sorted(os.listdir("/proc/self/fd"))
    child, (opened,) = _opened_or_ended("paced", 480)
    assert (opened.device, opened.key, opened.rate_hz, opened.channels, opened.why) == ("paced", "paced", 48_000, 1, "")
    assert opened.buffer_frames == 480
    child.ask_to_end()
    assert _exit_text(child) == "the speaker process: it ended with exit code 0"
    child.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", [PulseServer, PipeWireServer])
def test_a_sound_server_begins_with_20_ms(kind: Callable[[Path], SoundServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a server, the first buffer is at least 20 ms."""
    with as_default_output(kind(tmp_path), monkeypatch):
        child, (opened,) = _opened_or_ended("", 480)
        child.ask_to_end()
        _exit_text(child)
        child.close()
    assert (opened.device, opened.buffer_frames) == ("default", 960)


def test_device_that_cannot_be_opened(paced_device: PacedDevice) -> None:
    """The child sends the reason as text, with the devices that exist."""
    child, opened = _opened_or_ended("nothing")
    assert not opened
    assert re.match(r"'nothing' is not an output: \[0\] default.*paced", _exit_text(child))
    child.close()


def test_child_that_is_aborted_while_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio aborts the process if a configuration has no default device: the parent survives and reports it."""
    config = tmp_path / "asound.conf"
    config.write_text("pcm.only { type null }\npcm.other { type empty slave.pcm only }\n", encoding="ascii")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    child, opened = _opened_or_ended("other")
    assert not opened
    assert "it was killed by SIGABRT" in _exit_text(child)
    child.close()
