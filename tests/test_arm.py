"""The edge client on an emulated aarch64: `scripts/arm/run`."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.data import PROJECT_ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_edge_client_runs_on_aarch64() -> None:
    """All imports, the speaker alone, a conversation; and each dependency of a device has a wheel for its Python."""
    done = subprocess.run(["scripts/arm/run"], cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
