"""Fixtures of the face's tests: the baked head, off-screen renderers, and an X server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from edge_client.face.head import Head, load_head
from edge_client.face.renderer import Renderer
from edge_client.face.screens import open_renderer

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
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(10)
