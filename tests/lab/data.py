"""Locates test inputs that are not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def shared_data(name: str) -> Path:
    """A file of the folder `TEST_DATA_FOLDER`, else of `../shared/data`; skips the test if it is missing."""
    folder = Path(os.environ.get("TEST_DATA_FOLDER") or PROJECT_ROOT.parent / "shared" / "data")
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{path} is not there; set TEST_DATA_FOLDER to the folder that holds {name}")
    return path


def debian_speech(name: str) -> Path:
    """A recording of human speech from Debian's pocketsphinx-testdata, by the end of its path; skips the test if it is missing."""
    return _installed(Path("/usr/share/pocketsphinx/test"), name, "pocketsphinx-testdata")


def alsa_sample(name: str) -> Path:
    """A sample from Debian's alsa-utils, such as `Front_Center.wav`; skips the test if it is missing."""
    return _installed(Path("/usr/share/sounds/alsa"), name, "alsa-utils")


def _installed(folder: Path, name: str, package: str) -> Path:
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{path} is not there; install Debian's {package}")
    return path
