"""The Debian package: its contents and scripts. `scripts/install_check` installs and purges it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from avatar_relay.installer.plan import DEVICE, OPT, RELAY, ROLES
from avatar_relay.installer.release import SoftwareRelease
from scripts.installer.deb import UNITS, scripts_of, stage
from tests.installer.releases import FakeBuilds


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
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
