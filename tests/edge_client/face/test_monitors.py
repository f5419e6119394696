"""Which monitor shows the face."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_client.errors import ScreenError
from edge_client.face.monitors import Monitor, choose
from tests.edge_client.face_process.desktops import wait_for
from tests.lab.mouth.on_screen import virtual_display

DESK = [Monitor("DELL U2415", (1920, 1200)), Monitor("HDMI-A-1", (800, 480)), Monitor("HDMI-A-2", (480, 480))]


@pytest.mark.parametrize(("wanted", "number"), [("", 0), ("0", 0), ("2", 2), ("dell", 0), ("HDMI-A-1", 1)])
def test_by_number_or_by_name(wanted: str, number: int) -> None:
    assert choose(wanted, DESK) == number


@pytest.mark.parametrize(("wanted", "problem"), [("3", "is not a"), ("HDMI", "matches several"), ("DP", "is not a"), ("٣", "is not a")])
def test_another_one_does_not_take_its_place(wanted: str, problem: str) -> None:
    """The reason lists the monitors that exist."""
    with pytest.raises(ScreenError, match=rf"{problem} .*\[0\] DELL U2415 \(1920x1200\); \[1\] HDMI-A-1"):
        choose(wanted, DESK)


@pytest.fixture
def two_monitors(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a Wayland desktop with two monitors, 320x240 and 240x320, whose windows are on a headless X server."""
    if shutil.which("weston") is None or shutil.which("Xvfb") is None:
        pytest.skip("weston or Xvfb is not installed")
    tmp_path.chmod(0o700)
    outputs = "".join(f"[output]\nname=X{number}\nmode={mode}\n" for number, mode in ((1, "320x240"), (2, "240x320")))
    (tmp_path / "weston.ini").write_text("[core]\nidle-time=0\n" + outputs)
    command = ["weston", "--backend=x11-backend.so", "--output-count=2", "--use-pixman", "--socket=wayland-8"]
    with virtual_display((800, 600)) as display:
        desktop = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
        with subprocess.Popen(
            [*command, f"--config={tmp_path}/weston.ini"],
            env=desktop | {"DISPLAY": display},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as compositor:
            try:
                wait_for(lambda: (tmp_path / "wayland-8").exists())
                yield desktop | {"WAYLAND_DISPLAY": "wayland-8"}
            finally:
                compositor.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["flat", "gles"])
def test_the_face_fills_the_second_monitor(two_monitors: dict[str, str], choice: str) -> None:
    """A real desktop's. A missing one is reported with a list of those that exist, and no other one is used."""
    program = (
        "import sys\nfrom edge_client.face.screens import open_face\n"
        "for monitor in ('1', '', 'HDMI'):\n"
        "    opened = open_face(choice=sys.argv[1], size=(64, 64), fullscreen=True, headless=False, monitor=monitor)\n"
        "    print(opened.place.where, *opened.renderer.size, opened.reasons)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, choice], env=two_monitors, capture_output=True, text=True, check=True, timeout=60)
    second, first, missing = [line for line in ran.stdout.splitlines() if line.startswith(("desktop", "off"))]
    assert (second, first) == ("desktop 240 320 ()", "desktop 320 240 ()")
    assert missing.startswith("off-screen 64 64")
    assert "monitor 'HDMI' is not a monitor: [0]" in missing
