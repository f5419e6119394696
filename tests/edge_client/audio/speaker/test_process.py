from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.speaker.channel import Settings
from edge_client.audio.speaker.process import SpeakerProcess
from edge_client.errors import SinkError
from tests.lab.sound_card.paced_card import PacedDevice, paced_device, paced_library

__all__ = ["paced_device", "paced_library"]

_LIST_MODULES = """
import runpy, sys
sys.argv = ["speaker", "--list"]
try:
    runpy.run_module("edge_client.audio.speaker", run_name="__main__")
except SystemExit:
    pass
print(*sorted(sys.modules))
"""


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
from edge_client.audio.speaker.process import SpeakerProcess
speaker = SpeakerProcess(Settings(device="paced", rate_hz=48_000, buffer_frames=1_024))
speaker.open()
print("open", flush=True)
time.sleep(60)
"""


def test_child_ends_with_its_parent(paced_device: PacedDevice) -> None:
    """A parent that is killed leaves no child behind that holds the device: its end shows in the device's log."""
    with subprocess.Popen([sys.executable, "-c", _START_AND_WAIT], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"open\n"
        parent.kill()
    deadline = time.monotonic() + 5
    while not any(event.kind == "stop" for event in paced_device.events()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("hangs_in", ["spinning", "closing", "opening"])
def test_child_that_hangs_ends_without_its_parent(paced_device: PacedDevice, hangs_in: str) -> None:
    """A parent that is killed leaves no child behind whose PortAudio never comes back from a call."""
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
    while Path(f"/proc/{child}").exists() and "\nState:\tZ" not in Path(f"/proc/{child}/status").read_text():
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_open_and_end_leave_nothing_behind(paced_device: PacedDevice) -> None:
    """A child ends when it is told, by itself, and gives its descriptors back."""
    before = sorted(os.listdir("/proc/self/fd"))
    speaker = SpeakerProcess(Settings(device="paced", rate_hz=48_000, buffer_frames=1_024))
    assert speaker.open().device == "paced"
    speaker.shut()
    assert speaker.wait_until_lost() == "the speaker process ended, exit code 0"
    speaker.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("device", "rate_hz", "complaint"),
    [
        ("nothing", 48_000, "'nothing' is none of the outputs: .*paced"),
        ("paced_s", 1_000_000, "does not play 1000000 Hz"),
        ("paced", 16_000, "paced .* does not play 16000 Hz"),
    ],
)
def test_device_that_can_not_be_opened(paced_device: PacedDevice, device: str, rate_hz: int, complaint: str) -> None:
    """The reason comes from the child in words, with what there is instead."""
    speaker = SpeakerProcess(Settings(device=device, rate_hz=rate_hz, buffer_frames=1_024))
    with pytest.raises(SinkError, match=complaint):
        speaker.open()
    speaker.close()


def test_child_that_is_aborted_while_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio aborts the process where a configuration has no default device: the parent lives and says so."""
    config = tmp_path / "asound.conf"
    config.write_text("pcm.only { type null }\npcm.other { type empty slave.pcm only }\n", encoding="ascii")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    speaker = SpeakerProcess(Settings(device="", rate_hz=48_000, buffer_frames=1_024))
    with pytest.raises(SinkError, match="while it opened the default output, killed by SIGABRT"):
        speaker.open()
    speaker.close()
