"""The folder for the figures of the stages of `scripts/sdk/run`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def figures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of `--figures`, created if necessary, or a temporary one."""
    folder = Path(request.config.getoption("--figures") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
