"""The whole installation on a clean Debian, as done by a reader: `scripts/install_check`."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.lab.data import PROJECT_ROOT


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_install_upgrade_and_remove(suite: str) -> None:
    """Every step prints its findings; `pytest -rP` shows them."""
    command = [str(PROJECT_ROOT / "scripts" / "install_check"), suite]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2_900, check=False)
    print(done.stdout + done.stderr)  # noqa: T201
    assert done.returncode == 0
    assert (done.stdout + done.stderr).count("nothing is left") == 2


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")
@pytest.mark.parametrize("what", ["faults", "container"])
def test_faults_and_container(what: str) -> None:
    """Mistakes and interruptions; the steps of the Containerfile."""
    command = [str(PROJECT_ROOT / "scripts" / "install_check"), what]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2_900, check=False)
    print(done.stdout + done.stderr)  # noqa: T201
    assert done.returncode == 0
