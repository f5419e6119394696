"""Fixtures: the built-in head, and the same head exported as a model and imported again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_client import cli
from edge_client.face.head import Head, load_head
from edge_client.head_import.build import Imported
from tests.lab.models.own_head import arkit_shapes, own_head

Loader = Callable[[Imported], Head]


@pytest.fixture(scope="session")
def built_in() -> Head:
    """The committed head."""
    return load_head()


@pytest.fixture(scope="session")
def model(built_in: Head) -> bytes:
    """The built-in head as a model with all 52 shapes."""
    return own_head(built_in, arkit_shapes(built_in)).packed()


@pytest.fixture(scope="session")
def head_file(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command's output; the report and the pictures are beside it."""
    folder = tmp_path_factory.mktemp("head")
    (folder / "avatar.glb").write_bytes(model)
    assert cli.main(["import-head", str(folder / "avatar.glb"), "--out", str(folder / "mine.head")]) == 0
    return folder / "mine.head"


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    """Write what was imported, and read it as an edge client does."""

    def load(found: Imported) -> Head:
        np.savez(tmp_path / "head.npz", **found.arrays)  # type: ignore[arg-type]
        return load_head(tmp_path / "head.npz")

    return load
