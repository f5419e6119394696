"""Fixtures of the face's tests: the built-in heads, off-screen renderers, and an X server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from edge_client.cast import CAST, DEFAULT_HEAD, head_file
from edge_client.face.head import Head, load_head
from edge_client.face.renderer import Renderer
from edge_client.face.screens import open_face, open_renderer
from tests.lab.mouth.on_screen import virtual_display

SIZE = (800, 480)


HEADS = [name if name == DEFAULT_HEAD else pytest.param(name, marks=pytest.mark.slow) for name in CAST]
"""The default suite draws the default head, the slow one all built-in heads."""


@pytest.fixture(scope="session", params=HEADS)
def head_name(request: pytest.FixtureRequest) -> str:
    """The name of a built-in head."""
    return str(request.param)


@pytest.fixture(scope="session")
def head(head_name: str) -> Head:
    """The head, from its file."""
    return load_head(head_file(head_name))


@pytest.fixture(scope="module")
def gles(head_name: str) -> Iterator[Renderer]:
    """The head, drawn off-screen."""
    renderer = open_face(choice="gles", size=SIZE, fullscreen=False, headless=True, head_file=head_file(head_name)).renderer
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def flat() -> Iterator[Renderer]:
    """The vector face, off-screen."""
    renderer = open_renderer(choice="flat", size=SIZE, fullscreen=False, headless=True)
    yield renderer
    renderer.close()


@pytest.fixture(scope="session")
def x_display() -> Iterator[str]:
    """The name of a virtual X display of 1280 by 720; skipped if Xvfb is not installed."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    with virtual_display((1280, 720)) as name:
        yield name
