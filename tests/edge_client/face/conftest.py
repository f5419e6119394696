"""Fixtures of the face's tests: the baked head, off-screen renderers, and an X server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from edge_client.face.head import Head, load_head
from edge_client.face.renderer import Renderer
from edge_client.face.screens import open_renderer
from tests.lab.mouth.on_screen import virtual_display

SIZE = (800, 480)


@pytest.fixture(scope="session")
def head() -> Head:
    """The committed head."""
    return load_head()


@pytest.fixture(scope="module")
def gles() -> Iterator[Renderer]:
    """The drawn head, off-screen."""
    yield from _open("gles")


@pytest.fixture(scope="module")
def flat() -> Iterator[Renderer]:
    """The vector face, off-screen."""
    yield from _open("flat")


def _open(choice: str) -> Iterator[Renderer]:
    renderer = open_renderer(choice="gles" if choice == "gles" else "flat", size=SIZE, fullscreen=False, headless=True)
    yield renderer
    renderer.close()


@pytest.fixture(scope="session")
def x_display() -> Iterator[str]:
    """The name of a virtual X display of 1280 by 720; skipped where Xvfb is not installed."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    with virtual_display((1280, 720)) as name:
        yield name
