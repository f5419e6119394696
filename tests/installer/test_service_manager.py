"""The lab's service manager as a separate program, called by a program named `systemctl`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from avatar_relay.installer.machine import Machine
from avatar_relay.installer.plan import DEVICE, UNITS
from tests.installer.releases import PROGRAM
from tests.lab import service_manager
from tests.lab.programs import running

UNIT = """[Service]
Type=notify
ExecStart=/program --with "two words"
Environment=KIND=good
StateDirectory=one
Restart=always
RestartSec=0.1
"""


def said_by(program: Path, *arguments: str) -> str:
    """The output of a program that succeeds."""
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


async def test_systemctl_starts_shows_and_stops_a_unit(tmp_path: Path) -> None:
    """Called as by the installer."""
    root, socket = tmp_path / "root", tmp_path / "socket"
    (root / UNITS).mkdir(parents=True)
    (root / UNITS / DEVICE.unit).write_text(UNIT)
    program = root / "program"
    program.write_text(PROGRAM.format(python=sys.executable, behaviour="good", name="1"))
    program.chmod(0o755)
    serve = [sys.executable, "-IS", service_manager.__file__, "serve", str(root), str(socket)]
    async with running("manager", serve, tmp_path / "manager.log", {}) as manager:
        await manager.wait_for("listening", 10)
        systemctl = service_manager.write_systemctl(tmp_path, socket)
        machine = Machine(root, str(systemctl))
        assert machine.has_manager
        await asyncio.to_thread(machine.systemctl, "enable", "--now", DEVICE.unit)
        state = await asyncio.to_thread(machine.service, DEVICE)
        assert (state.active, state.restarts) == ("active", 0)
        assert (root / "var/lib/one").is_dir()
        assert await asyncio.to_thread(said_by, systemctl, "is-active", DEVICE.unit) == "active\n"
        await asyncio.to_thread(machine.systemctl, "disable", "--now", DEVICE.unit)
        assert (await asyncio.to_thread(machine.service, DEVICE)).active == "inactive"
