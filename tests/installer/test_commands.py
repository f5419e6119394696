"""The command line of the installer, on a machine in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.installer import commands
from scripts.installer.plan import DEVICE, RELAY
from tests.installer.releases import FakeBuilds, managed


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuilds]:
    """What the command changes."""
    with managed(tmp_path) as made:
        monkeypatch.setattr(commands, "Machine", lambda root, systemctl: made)
        yield made


def install(*arguments: str) -> int:
    """The exit status."""
    return commands.main([*arguments, "--root", "/nowhere", "--settle", "0.3"])


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
    """The other lines of the file stay as they are."""
    assert install("--name", "lobby") == 0
    log = machine.root / "var/log/edge-client.service.log"
    assert install("--rotation", "180") == 0
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\nrotation = 180\n'
    assert log.read_text().count("started") == 2


def test_a_wrong_setting_is_not_written(machine: FakeBuilds, capsys: pytest.CaptureFixture[str]) -> None:
    """The program's own words say why."""
    assert install("--name", "lobby") == 0
    assert install("--set", "nonsense=1") == 1
    assert "nonsense: no such setting" in capsys.readouterr().err
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\n'


def test_a_version_that_fails_its_self_test_is_not_run(machine: FakeBuilds, capsys: pytest.CaptureFixture[str]) -> None:
    """What it said is told."""
    machine.behaviour = "untested"
    assert install() == 1
    said = capsys.readouterr().err
    assert "no picture" in said
    assert "nothing was changed" in said
    assert machine.linked("current") is None


def test_relay_and_device_on_one_machine(machine: FakeBuilds) -> None:
    """Then each command knows both without being told."""
    assert install("--role", "both") == 0
    assert machine.read_settings(RELAY) == 'listen = "127.0.0.1:52000"\n'
    assert {machine.service(role).active for role in (RELAY, DEVICE)} == {"active"}
    assert install() == 0
    assert install("uninstall", "--purge") == 0
    assert {machine.service(role).active for role in (RELAY, DEVICE)} == {"inactive"}


def test_upgrade_and_rollback_need_something_to_start_from(machine: FakeBuilds, capsys: pytest.CaptureFixture[str]) -> None:
    """And say so."""
    assert install("upgrade") == 1
    assert "nothing is installed here" in capsys.readouterr().err
    assert install("rollback") == 1
    assert "no version to go back to" in capsys.readouterr().err


def test_only_root_may_change_the_system(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    assert commands.main([]) == 1
    assert "sudo scripts/install" in capsys.readouterr().err
