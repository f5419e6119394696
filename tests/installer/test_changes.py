"""Versions that are installed, kept and rolled back, with the shipped units and a service manager that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_relay.installer.changes import Changes, TrialLimits
from avatar_relay.installer.plan import DEVICE, UNITS
from avatar_relay.installer.process import InstallError
from avatar_relay.installer.release import SoftwareRelease
from tests.installer.releases import FakeBuilds, managed

LIMITS = TrialLimits(ready_s=20.0, settle_s=1.5)
IMPATIENT = TrialLimits(ready_s=3.0, settle_s=0.2)
"""Time limit for a release that never becomes ready."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FakeBuilds]:
    """A machine in a folder."""
    with managed(tmp_path) as made:
        yield made


def changes(machine: FakeBuilds, said: list[str] | None = None, limits: TrialLimits = LIMITS) -> Changes:
    """Changes of a device installation."""
    return Changes(machine, (DEVICE,), limits, (said if said is not None else []).append)


def put(machine: FakeBuilds, name: str, behaviour: str = "good", limits: TrialLimits = LIMITS) -> None:
    """Build a version and change to it."""
    machine.behaviour = behaviour
    machine.build(SoftwareRelease(name, ()))
    changes(machine, limits=limits).to_version(name)


def test_a_version_is_installed_and_runs(machine: FakeBuilds) -> None:
    """Unit, command and link exist, and the service is ready."""
    put(machine, "1")
    assert machine.linked("current") == "1"
    assert machine.linked("previous") is None
    assert machine.service(DEVICE).active == "active"
    assert machine.service(DEVICE).running_parts == {"sound", "face"}
    assert (machine.root / UNITS / DEVICE.unit).is_file()
    assert str((machine.root / "usr/local/bin/edge-client").readlink()) == "/opt/avatar-relay/current/bin/edge-client"


def test_an_upgrade_keeps_the_version_before_and_no_older_one(machine: FakeBuilds) -> None:
    """A rollback returns to it."""
    for name in ("1", "2", "3"):
        put(machine, name)
    assert machine.versions() == ["2", "3"]
    assert changes(machine).roll_back() == "2"
    assert (machine.linked("current"), machine.linked("previous")) == ("2", "3")
    assert machine.service(DEVICE).active == "active"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("crashes", "ended by itself"), ("never ready", "not ready within 3 s"), ("loses the face", "face: ran, and no longer does")],
)
def test_a_bad_version_is_taken_back_by_itself(behaviour: str, reason: str, machine: FakeBuilds) -> None:
    """The previous version runs again, and the bad one is removed."""
    put(machine, "1")
    with pytest.raises(InstallError, match=f"2 was taken back: {DEVICE.unit}: .*{reason}.* 1 runs again"):
        put(machine, "2", behaviour, IMPATIENT if behaviour == "never ready" else LIMITS)
    assert machine.linked("current") == "1"
    assert machine.versions() == ["1"]
    assert machine.service(DEVICE).active == "active"
    assert machine.service(DEVICE).running_parts == {"sound", "face"}


def test_a_first_version_that_does_not_run_has_nothing_to_go_back_to(machine: FakeBuilds) -> None:
    """It reports this and is kept for inspection."""
    with pytest.raises(InstallError, match="no version to go back to"):
        put(machine, "1", "crashes")
    assert machine.linked("current") == "1"
    with pytest.raises(InstallError, match="no version to go back to"):
        changes(machine).roll_back()


def test_removing_leaves_settings_and_state_and_purging_leaves_nothing(machine: FakeBuilds) -> None:
    """Of everything that was installed."""
    put(machine, "1")
    machine.write_settings(DEVICE, 'device_id = "lobby"\n')
    machine.remove((DEVICE,), purge=False)
    assert not (machine.root / "opt/avatar-relay").exists()
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\n'
    assert (machine.root / "var/lib/edge-client").is_dir()
    put(machine, "1")
    machine.remove((DEVICE,), purge=True)
    left = {str(path.relative_to(machine.root)) for path in machine.root.rglob("*") if not path.is_dir()}
    assert left == {"var/log/edge-client.service.log"}


def test_a_service_that_was_disabled_stays_so(machine: FakeBuilds) -> None:
    """Such as on a desktop, where the user's own unit shows the face."""
    put(machine, "1")
    machine.systemctl("disable", "--now", DEVICE.unit)
    put(machine, "2", "crashes")
    assert machine.linked("current") == "2"
    assert machine.service(DEVICE).active == "inactive"


def test_without_a_service_manager_everything_is_in_place_for_the_next_start(tmp_path: Path) -> None:
    """As in a chroot, or during an image build."""
    machine, said = FakeBuilds(tmp_path, None), list[str]()
    machine.build(SoftwareRelease("1", ()))
    changes(machine, said).to_version("1")
    assert machine.linked("current") == "1"
    assert (tmp_path / UNITS / DEVICE.unit).is_file()
    assert any("no service manager" in line for line in said)
