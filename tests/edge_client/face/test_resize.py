"""A real client's window, resized by the X server as window managers and turned screens do it."""

from __future__ import annotations

import itertools
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_client.face.overlay import Overlay
from edge_client.face.renderer import Picture, Renderer, Wish
from edge_client.face.screens import RendererChoice, open_renderer
from tests.edge_client.face.client_window import PATIENCE_S, ClientWindow, client_window, resize_own_window
from tests.edge_client.face.poses import pose_of

SIZES = [(900, 500), (480, 640), (320, 240), (1280, 720)]


def _picture(renderer: Renderer) -> Picture:
    renderer.draw(pose_of(jawOpen=0.5), overlay=Overlay(None, "a sign", ("a figure",)), stamp=5)
    return renderer.read()


def _follow(renderer: Renderer, size: tuple[int, int]) -> None:
    """Draw until the renderer has taken the window's size."""
    until = time.monotonic() + PATIENCE_S
    while renderer.size != size:
        assert time.monotonic() < until, f"the picture keeps {renderer.size}"
        _picture(renderer)
        renderer.show()
        assert renderer.poll() is Wish.NONE


@pytest.mark.parametrize("choice", ["gles", "flat"])
def test_a_resized_window_shows_what_a_new_one_of_that_size_would(
    choice: RendererChoice, x_display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Camera, backdrop, paint and letters follow, also after a size in which nothing can be seen."""
    expected: list[Picture] = []
    for size in SIZES[:2]:
        renderer = open_renderer(choice=choice, size=size, fullscreen=False, headless=True)
        expected.append(_picture(renderer))
        renderer.close()
    monkeypatch.setenv("DISPLAY", x_display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with closing(open_renderer(choice=choice, size=(640, 360), fullscreen=False, headless=False)) as renderer:
        for size, picture in zip(SIZES[:2], expected, strict=True):
            for wanted in ((1, 1), (30, 20), size):
                resize_own_window(x_display, *wanted)
                _follow(renderer, wanted)
            difference = np.abs(_picture(renderer).astype(int) - picture).max(2)
            assert (difference > 8).mean() < 0.001


def _resized(client: ClientWindow, times: int) -> None:
    for width, height in itertools.islice(itertools.cycle(SIZES), times):
        client.resize(width, height)
        client.assert_draws()


@pytest.mark.parametrize("renderer", ["gles", "flat"])
def test_a_resized_window_lives(renderer: str, x_display: str, tmp_path: Path) -> None:
    """Up and down, and it draws at each size."""
    with client_window(x_display, tmp_path / "edge.log", "--size", "640x360", "--renderer", renderer) as client:
        _resized(client, len(SIZES))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("renderer", ["gles", "flat"])
def test_a_window_resized_fifty_times_lives(renderer: str, x_display: str, tmp_path: Path) -> None:
    """Fifty times up and down."""
    with client_window(x_display, tmp_path / "edge.log", "--size", "640x360", "--renderer", renderer) as client:
        _resized(client, 50)


def test_a_machine_without_llvm_shows_the_vector_face(x_display: str, tmp_path: Path) -> None:
    """Mesa's softpipe crashes where a window is opened again after a refused one, and is too slow to be watched."""
    with client_window(x_display, tmp_path / "edge.log", "--size", "320x240", variables={"GALLIUM_DRIVER": "softpipe"}) as client:
        assert np.ptp(client.look()) > 100
    log = client.log.read_text()
    assert "drawn by the vector face" in log
    assert "pygame-ce" not in log
    assert "softpipe draws only a few pictures a second" in log
