"""The systemd units: accepted by systemd, hardened, linked from the pages; both programs implement what `Type=notify` needs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_relay.installer.plan import UPDATE_TRIGGER
from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import Program, python, running

UNITS = {"edge-client": "device.md", "edge-client-desktop": "device.md", "edge-client-update": "device.md", "relay-server": "operations.md"}
"""Each unit with the page that links to it."""
OF_USERS = {"edge-client-desktop"}
"""Units for a user's manager."""
MAX_EXPOSURE = 3.0
"""On the scale of `systemd-analyze security`, from 0 (safe) to 10."""
WATCHDOG_USEC = 400_000

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze; install Debian's systemd")


def text_of(name: str) -> str:
    """Return the unit as shipped."""
    return (PROJECT_ROOT / "system" / f"{name}.service").read_text(encoding="utf-8")


@pytest.fixture
def unit(name: str, tmp_path: Path) -> Path:
    """A copy of the unit whose program exists on this machine."""
    path = tmp_path / f"{name}.service"
    path.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text_of(name), flags=re.MULTILINE), encoding="utf-8")
    return path


def analyze(unit: Path, *arguments: str) -> str:
    """Return the output of systemd-analyze for a unit; its arguments must be accepted."""
    command = ["systemd-analyze", *(["--user"] if unit.stem in OF_USERS else []), *arguments, str(unit)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(unit.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, unit: Path) -> None:
    """No unknown key, no key in a wrong section, no bad value. Complaints about other units of this machine are ignored."""
    assert [line for line in analyze(unit, "verify", "--man=no").splitlines() if name in line] == []


@needs_systemd
@pytest.mark.parametrize("name", ["edge-client-update"])
def test_systemd_accepts_the_trigger(name: str, unit: Path) -> None:
    """The path unit, with the service it starts; the file it watches is in the state folder of the device's unit."""
    text = (PROJECT_ROOT / "system" / f"{name}.path").read_text(encoding="utf-8")
    path = unit.with_suffix(".path")
    path.write_text(text, encoding="utf-8")
    assert [line for line in analyze(path, "verify", "--man=no").splitlines() if name in line] == []
    assert f"PathChanged=/var/lib/edge-client/{UPDATE_TRIGGER}\n" in text
    assert "StateDirectory=edge-client\n" in text_of("edge-client")


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_unit_is_hardened(name: str, unit: Path) -> None:
    """The exposure is within its bound; `pytest -rP` shows the table."""
    said = analyze(unit, "security", "--offline=true", "--no-pager")
    sys.stdout.write(said)
    exposure = re.search(rf"Overall exposure level for {name}.service: ([\d.]+)", said)
    assert exposure is not None
    assert float(exposure[1]) <= MAX_EXPOSURE


@pytest.mark.parametrize(("name", "page"), UNITS.items())
def test_page_links_to_the_unit(name: str, page: str) -> None:
    """The program's page links to its unit."""
    assert f"(../system/{name}.service)" in (PROJECT_ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The notify socket, with the test listening like systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


async def states_until(systemd: socket.socket, program: Program, state: str) -> list[str]:
    """Return the states that a program sends, up to `state`."""
    told: list[str] = []
    async with asyncio.timeout(30):
        while state not in told:
            assert program.running, program.said()
            told.append((await asyncio.get_running_loop().sock_recv(systemd, 256)).decode())
    return told


COMMANDS = {
    "edge-client": ["edge_client", "--relay", "127.0.0.1:1", "--renderer", "none", "--audio-sink", "virtual"],
    "relay-server": ["relay_server", "--listen", "127.0.0.1:0"],
}

STATUS = {"edge-client": "STATUS=sound running", "relay-server": ""}
"""The state of the parts: shown by `systemctl status`, and used by the installer."""


@pytest.mark.parametrize("name", COMMANDS)
async def test_program_tells_systemd(name: str, systemd: socket.socket, tmp_path: Path) -> None:
    """Ready, then watchdog pings until stopped, then stopping; the exit status is 0."""
    module, *arguments = COMMANDS[name]
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": str(WATCHDOG_USEC)}
    async with running(name, [*python(module), *arguments], tmp_path / "log", environment) as program:
        assert await states_until(systemd, program, "READY=1") == ["READY=1"]
        status = {STATUS[name]} - {""}
        until = next(iter(status), "WATCHDOG=1")
        assert set(await states_until(systemd, program, until)) <= {"WATCHDOG=1", "STATUS=sound starting", *status}
        assert set(await states_until(systemd, program, "WATCHDOG=1")) == {"WATCHDOG=1"}
        program.terminate()
        assert set(await states_until(systemd, program, "STOPPING=1")) <= {"WATCHDOG=1", "STOPPING=1"}
        await program.wait(30)
