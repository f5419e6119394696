"""The head on GLES 3.0, 3.1 and 3.2, and on softpipe: every background, both levels; no warning, no text lost, the same picture."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.edge_client.face.test_background import SCENES, TEXTS
from tests.lab.data import PROJECT_ROOT

_LIMIT_S = 900
DRIVERS = {
    "3.0": {"MESA_GLES_VERSION_OVERRIDE": "3.0"},
    "3.1": {"MESA_GLES_VERSION_OVERRIDE": "3.1", "MESA_GL_VERSION_OVERRIDE": "3.1"},
    "3.2": {"MESA_GLES_VERSION_OVERRIDE": "3.2"},
    "softpipe": {"GALLIUM_DRIVER": "softpipe"},
}
SAMPLES = {"softpipe": 0}
"""Of `high`: softpipe has no smooth edges."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the children's files."""
    return tmp_path_factory.mktemp("drivers")


@cache
def _drawn(folder: Path, driver: str, samples: int) -> dict[str, NDArray[np.generic]]:
    """What `driver_child` finds with a driver of `DRIVERS`, or `usual`."""
    out = folder / f"{driver}-{samples}.npz"
    fresh = {"MESA_SHADER_CACHE_DISABLE": "true"}  # Mesa does not repeat warnings about a shader from its cache
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'proto'}", **fresh, **DRIVERS.get(driver, {})}
    command = [sys.executable, "-P", "-m", "tests.edge_client.face.driver_child", str(samples), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    with np.load(out) as loaded:
        return dict(loaded)


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_driver_has_nothing_to_say(driver: str, folder: Path) -> None:
    """It is the one asked for; no shader or program earns a message, though a poor one would."""
    found = _drawn(folder, driver, SAMPLES.get(driver, 4))
    version, name = str(found["version"]), str(found["driver"])
    assert "softpipe" in name if driver == "softpipe" else version.startswith(f"OpenGL ES {driver}")
    assert "warning" in str(found["control"])
    assert not [log for log in found["logs"].tolist() if log.strip()]


@pytest.mark.parametrize("detail", ["low", "high"])
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("driver", DRIVERS)
def test_it_draws_the_same_head_and_all_text(driver: str, scene: str, detail: str, folder: Path) -> None:
    """As Mesa's software renderer does when nothing limits it: head, background, and each letter."""
    samples = SAMPLES.get(driver, 4)
    pictures, usual = (_drawn(folder, name, samples)[f"{scene}-{detail}"].astype(int) for name in (driver, "usual"))
    assert np.abs(pictures - usual).mean() < 1.0
    assert np.ptp(pictures[0]) > 150
    for picture, expected, (_, colour) in zip(pictures[1:], usual[1:], TEXTS, strict=True):
        seen, wanted = (np.abs(text - np.array(colour)).max(2) < 24 for text in (picture, expected))
        assert wanted.sum() > 100
        assert (seen & wanted).sum() > 0.97 * wanted.sum()
        assert (np.abs(picture - pictures[0]).max(2) > 8).mean() > 0.02
