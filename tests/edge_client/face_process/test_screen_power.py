"""The screen's power: backlight files, or else the owner's command; and a face process that receives sleep and wake."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_client.config import EdgeConfig
from edge_client.face.answers import FaceAnswers, NoOverlays
from edge_client.face.overlay import DARK, NOTHING, Overlay
from edge_client.face_process import screen_power
from edge_client.face_process.host import FaceProcess
from edge_client.face_process.screen_power import ScreenPower, locked_backlights
from edge_client.playback.events import View
from tests.edge_client.face_process.hosted import Speaking

PATIENCE_S = 20.0


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def lights(tmp_path: Path) -> list[Path]:
    """Two panels that were left dark."""
    files = [tmp_path / name / "bl_power" for name in ("10-0045", "rpi_backlight")]
    for file in files:
        file.parent.mkdir()
        file.write_text("4")
    return files


class Command:
    """A program that writes its arguments to a file, and may be slow."""

    def __init__(self, folder: Path, then: str = "") -> None:
        self.log = folder / "log"
        self.log.touch()
        self.words = ["sh", "-c", f'echo $0 >> "{self.log}"; {then}']

    def told(self) -> list[str]:
        return self.log.read_text().split()


def test_all_backlights_are_switched_and_only_when_that_is_news(lights: list[Path], tmp_path: Path) -> None:
    """Panels left dark by an earlier run are lit with the first picture."""
    command = Command(tmp_path)
    power = ScreenPower(command.words, root=tmp_path)
    for dark, value in ((False, "0"), (True, "4"), (False, "0")):
        power.set(dark=dark)
        assert [light.read_text() for light in lights] == [value, value]
    for light in lights:
        light.write_text("untouched")
    power.set(dark=False)
    assert lights[0].read_text() == "untouched"
    power.set(dark=True)
    power.close()
    assert lights[1].read_text() == "0"
    assert command.told() == []


def ended(power: ScreenPower) -> bool:
    return power._running is not None and power._running.poll() is not None


def test_without_a_backlight_the_command_is_called(tmp_path: Path) -> None:
    """Once for each change, one at a time: while one runs, the next one waits, and changes undone meanwhile are left out."""
    command = Command(tmp_path, f'while [ -e "{tmp_path}/hold" ]; do sleep 0.01; done')
    (tmp_path / "hold").touch()
    power = ScreenPower(command.words, root=tmp_path / "none", is_dark=True)
    for dark in (True, False, True, False):
        power.set(dark=dark)
    wait_for(lambda: command.told() == ["wake"])
    (tmp_path / "hold").unlink()
    wait_for(lambda: ended(power))
    power.set(dark=False)
    assert command.told() == ["wake"]
    power.set(dark=True)
    wait_for(lambda: ended(power) and command.told() == ["wake", "sleep"])


def test_a_command_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that hangs is killed, and the next one is run."""
    monkeypatch.setattr(screen_power, "COMMAND_S", 0.1)
    command = Command(tmp_path, '[ "$0" = wake ] || exec sleep 60')
    power = ScreenPower(command.words, root=tmp_path / "none")
    power.set(dark=True)
    wait_for(lambda: command.told() == ["sleep"])
    while len(command.told()) < 2:
        power.set(dark=False)
    wait_for(lambda: ended(power))
    assert command.told() == ["sleep", "wake"]


def test_what_cannot_be_switched_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A command that does not exist, or a driver that refuses, is reported once for each change."""
    (tmp_path / "panel" / "bl_power").mkdir(parents=True)  # writing to it fails for any user
    power = ScreenPower(["/no/such/program"], root=tmp_path)
    for _ in range(3):
        power.set(dark=True)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [str(tmp_path / "panel" / "bl_power"), "sleep_command"]


def test_files_of_others_are_found_before_they_are_needed(lights: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locked_backlights(tmp_path) == []
    monkeypatch.setattr("os.access", lambda path, mode: path != lights[1])
    assert locked_backlights(tmp_path) == [lights[1]]


@pytest.mark.parametrize("hangs", [False, True])
def test_a_face_is_told_to_sleep_and_gives_the_screen_back(*, hangs: bool, tmp_path: Path) -> None:
    """The real process: a command for each change, none when it is killed while it sleeps, and light at the end, even if it hangs then."""
    command = Command(tmp_path)

    class Sleeping(NoOverlays):
        now = NOTHING

        def overlay(self, view: View, now_us: int) -> Overlay:
            return self.now

    overlays = Sleeping()
    words = f"sh -c 'echo $0 >> {command.log}'"
    config = EdgeConfig(headless=True, renderer="flat", size=(64, 64), sleep_after_s=1.0, sleep_command=words)
    face = FaceProcess(config, FaceAnswers(Speaking(), overlays=overlays), name="test", on_closed=lambda: None)
    face.start()
    try:
        wait_for(lambda: command.told() == ["wake"])
        overlays.now = DARK
        wait_for(lambda: command.told() == ["wake", "sleep"])
        child = face.child
        assert child is not None
        child.kill()
        wait_for(lambda: face.child is not child and face.status().state.value == "running")
        if hangs:
            assert face.child is not None
            os.kill(face.child.pid, signal.SIGSTOP)
    finally:
        face.close()
    wait_for(lambda: len(command.told()) == 3)
    assert command.told() == ["wake", "sleep", "wake"]
