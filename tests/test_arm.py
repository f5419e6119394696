"""The edge client and the Debian package on an emulated aarch64: `scripts/arm/run` and `scripts/arm/deb`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_edge_client_runs_on_aarch64() -> None:
    """All imports, the speaker alone, a conversation; and each dependency of a device has a wheel for its Python."""
    done = subprocess.run(["scripts/arm/run"], cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_package_for_aarch64(suite: str, tmp_path: Path) -> None:
    """It is built, installed on a clean machine, passes its self-test there, and leaves nothing when purged."""
    command = ["scripts/arm/deb", suite, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)  # noqa: T201
    assert done.returncode == 0
    assert "no file, user or group is left" in done.stderr
    fields = subprocess.run(["dpkg-deb", "--field", done.stdout.splitlines()[-1]], capture_output=True, text=True, check=True).stdout
    python = {"bookworm": "python3 (>= 3.11), python3 (<< 3.12)", "trixie": "python3 (>= 3.13), python3 (<< 3.14)"}[suite]
    assert "Architecture: arm64\n" in fields and python in fields
