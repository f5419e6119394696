"""The Debian package: its contents and scripts. `scripts/install_check` installs and purges it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from avatar_relay.installer.plan import DEVICE, OPT, RELAY, ROLES
from avatar_relay.installer.plan import UNITS as INSTALLED_UNITS
from avatar_relay.installer.release import SoftwareRelease
from scripts.installer.deb import UNITS, scripts_of, stage
from tests.installer.releases import FakeBuilds


@pytest.mark.parametrize("script", ["preinst", "postinst", "prerm", "postrm"])
def test_maintainer_scripts_are_scripts(script: str, tmp_path: Path) -> None:
    """A shell can parse them, no placeholder is left, and an unknown argument does nothing."""
    text = scripts_of("0.1.0-edge-12345678", ROLES["both"])[script]
    path = tmp_path / script
    path.write_text(text)
    subprocess.run(["sh", "-n", path], check=True, timeout=10)
    assert "{" not in text.replace("${pair", "").replace("{pair", "")
    assert DEVICE.unit in text or script == "postrm"


def test_the_tree_of_a_package(tmp_path: Path) -> None:
    """The version in its folder, its units, and links to the running version's commands."""
    machine = FakeBuilds(tmp_path / "root", None)
    machine.build(SoftwareRelease("0.1.0-edge-12345678", ()))
    tree = tmp_path / "tree"
    stage(tree, machine.version("0.1.0-edge-12345678"), ROLES["both"])
    assert (tree / OPT / "versions/0.1.0-edge-12345678/bin/edge-client").stat().st_mode & 0o111
    assert sorted(path.name for path in (tree / UNITS).iterdir()) == [DEVICE.unit, RELAY.unit]
    assert {path.name for path in (tree / "usr/bin").iterdir()} == {"edge-client", "relay-server", "relayctl"}
    assert str((tree / "usr/bin/relayctl").readlink()) == f"/{OPT}/current/bin/relayctl"


def preinst(tmp_path: Path, text: str) -> str:
    """Run it on a machine whose files are below a folder; returns what it says, or an empty string if it accepts the machine."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin/getent").write_text('#!/bin/sh\ngrep "^$2:" "$0.passwd"\n')
    (tmp_path / "bin/getent").chmod(0o755)
    (tmp_path / "preinst").write_text(text.replace("/etc/", f"{tmp_path}/etc/"))
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    done = subprocess.run(["sh", tmp_path / "preinst", "install"], env=environment, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == int(done.stderr != "")
    return done.stderr


def test_the_package_refuses_an_account_of_that_name_and_an_installation_by_script(tmp_path: Path) -> None:
    """Purging would delete the account; two installations would replace each other's version."""
    text = scripts_of("1", ROLES["both"])["preinst"]
    users = tmp_path / "bin/getent.passwd"
    users.parent.mkdir()
    users.write_text("avatar:x:998:998::/nonexistent:/usr/sbin/nologin\n")
    assert preinst(tmp_path, text) == ""
    users.write_text("avatar:x:1000:1000::/home/avatar:/bin/bash\n")
    assert "account with home /home/avatar" in preinst(tmp_path, text)
    users.write_text("")
    unit = tmp_path / INSTALLED_UNITS / DEVICE.unit
    unit.parent.mkdir(parents=True)
    unit.touch()
    assert "scripts/install uninstall" in preinst(tmp_path, text)
