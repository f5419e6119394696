"""A clean Debian, as a reader has it.

The whole installation (`scripts/install_check`), the package for arm64 (`scripts/arm/deb`), demo and tests on Debian 13
(`scripts/debian13`).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
@pytest.mark.parametrize(("what", "least_purged"), [("bookworm", 2), ("trixie", 2), ("faults", 0), ("container", 0)])
def test_install_check(what: str, least_purged: int) -> None:
    """Every step prints its findings; `pytest -rP` shows them. `least_purged`: how often at least nothing is left after a removal."""
    command = [str(PROJECT_ROOT / "scripts" / "install_check"), what]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2_900, check=False)
    print(done.stdout + done.stderr)  # noqa: T201
    assert done.returncode == 0 and "FAILED" not in done.stdout
    assert done.stdout.count("no file, user or group is left") >= least_purged


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


@pytest.mark.slow
@pytest.mark.timeout(4_000)
@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
@pytest.mark.parametrize("arguments", [(), ("--script", "demo", "--headless")], ids=["tests", "demo"])
def test_debian_13(arguments: tuple[str, ...]) -> None:
    """The two commands of the README work with Python 3.13."""
    command = [str(PROJECT_ROOT / "scripts" / "debian13"), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3_900, check=False)
    print(done.stdout + done.stderr)  # noqa: T201
    assert done.returncode == 0
