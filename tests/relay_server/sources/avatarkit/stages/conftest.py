"""Where the stages of `scripts/sdk/run` leave their figures."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def figures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of `--figures`, made if need be, or a temporary one."""
    folder = Path(request.config.getoption("--figures") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
