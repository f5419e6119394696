"""The command line of the installer, on a machine in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_relay.installer import commands
from avatar_relay.installer.plan import DEVICE, RELAY, UNITS, USER_DROP_IN, desktop_of
from tests.installer.releases import FakeBuilds, managed
from tests.lab.data import PROJECT_ROOT


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuilds]:
    """The machine that the command changes."""
    with managed(tmp_path) as made:
        monkeypatch.setattr(commands, "Machine", lambda root, systemctl: made)
        yield made


def install(*arguments: str) -> int:
    """Return the exit status."""
    return commands.main([*arguments, "--root", "/nowhere", "--settle", "0.3"], program="scripts/install", role="device")


def test_flags_become_settings_and_a_second_run_changes_nothing(machine: FakeBuilds) -> None:
    """Within five seconds, and without a restart."""
    assert install("--name", "lobby", "--relay", "192.0.2.1:52000", "--card", "Device", "--rotation", "90", "--set", "headless=true") == 0
    text = machine.read_settings(DEVICE)
    assert text == 'device_id = "lobby"\nrelay = "192.0.2.1:52000"\naudio_device = "Device"\nrotation = 90\nheadless = true\n'
    log = machine.root / "var/log/edge-client.service.log"
    before, start_s = log.read_text(), time.monotonic()
    assert install() == install("--name", "lobby") == 0
    assert time.monotonic() - start_s < 5
    assert log.read_text() == before
    assert machine.read_settings(DEVICE) == text


def test_a_changed_setting_restarts_the_service(machine: FakeBuilds) -> None:
    """The other lines of the file are unchanged."""
    assert install("--name", "lobby") == 0
    log = machine.root / "var/log/edge-client.service.log"
    assert install("--rotation", "180") == 0
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\nrotation = 180\n'
    assert log.read_text().count("started") == 2


def test_a_wrong_setting_is_not_written(machine: FakeBuilds, capsys: pytest.CaptureFixture[str]) -> None:
    """The error is the program's own."""
    assert install("--name", "lobby") == 0
    assert install("--set", "nonsense=1") == 1
    assert "nonsense: no such setting" in capsys.readouterr().err
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\n'


def test_a_version_that_fails_its_self_test_is_not_run(machine: FakeBuilds, capsys: pytest.CaptureFixture[str]) -> None:
    """Its output is shown."""
    machine.behaviour = "untested"
    assert install() == 1
    said = capsys.readouterr().err
    assert "no picture" in said
    assert "nothing was changed" in said
    assert machine.linked("current") is None


def test_relay_and_device_on_one_machine(machine: FakeBuilds) -> None:
    """Each command then covers both without flags."""
    assert install("--role", "both") == 0
    assert machine.read_settings(RELAY) == 'listen = "127.0.0.1:52000"\n'
    assert {machine.service(role).active for role in (RELAY, DEVICE)} == {"active"}
    assert install() == 0
    assert install("uninstall", "--purge") == 0
    assert {machine.service(role).active for role in (RELAY, DEVICE)} == {"inactive"}


def test_a_device_of_a_desktop(machine: FakeBuilds) -> None:
    """A flag selects the unit of the user's session, and is remembered; the console's unit is removed."""
    assert install("--name", "lobby") == 0
    assert install("--desktop", "pi") == 0
    shipped = (PROJECT_ROOT / "system/edge-client-desktop.service").read_text()
    assert (machine.root / "etc/systemd/user/edge-client.service").read_text() == shipped
    assert (machine.root / USER_DROP_IN).read_text() == "[Unit]\nConditionUser=pi\n"
    assert not (machine.root / UNITS / DEVICE.unit).exists()
    assert machine.service(desktop_of("pi")).active == "active"
    assert install() == 0
    assert not (machine.root / UNITS / DEVICE.unit).exists()
    assert install("uninstall") == 0
    assert not list((machine.root / "etc/systemd").rglob("*edge*"))


def test_what_ended_halfway_is_removed_too(machine: FakeBuilds) -> None:
    """Such as the settings of a relay whose unit was never installed."""
    machine.write_settings(RELAY, "")
    assert install("uninstall", "--purge") == 0
    assert not list(machine.root.glob("etc/avatar-relay"))


def test_upgrade_and_rollback_need_something_to_start_from(machine: FakeBuilds, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise they report an error."""
    assert install("upgrade") == 1
    assert "nothing is installed here" in capsys.readouterr().err
    assert install("rollback") == 1
    assert "no version to go back to" in capsys.readouterr().err


def test_the_programs_install_themselves(tmp_path: Path) -> None:
    """`edge-client install` and `relay-server install` are the same installer; an impossible request is one line."""
    for program in ("edge_client", "relay_server"):
        command = [sys.executable, "-m", program, "install", "upgrade", "--root", str(tmp_path)]
        done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=50, check=False)
        name = program.replace("_", "-")
        assert (done.returncode, done.stderr) == (1, f"{name} install: error: nothing is installed here; leave out `upgrade`\n")


def test_the_installer_needs_nothing_but_python() -> None:
    """It runs on a machine without any other part of the project."""
    command = [sys.executable, "-IS", "-c", "import sys; sys.path.append('proto'); import avatar_relay.installer.commands"]
    subprocess.run(command, cwd=PROJECT_ROOT, check=True, timeout=30)


def test_only_root_may_change_the_system(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The error is one line."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    assert commands.main([], program="scripts/install", role="device") == 1
    assert "sudo scripts/install" in capsys.readouterr().err
