"""A real client's window, resized by the X server as by window managers and rotated screens."""

from __future__ import annotations

import itertools
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_client.face.overlay import Overlay
from edge_client.face.picture_size import bounded
from edge_client.face.renderer import Picture, Renderer, Wish
from edge_client.face.screens import RendererChoice, open_face, open_renderer
from tests.edge_client.face.client_window import PATIENCE_S, ClientWindow, client_window, look_at_own_window, resize_own_window
from tests.edge_client.face.poses import pose_of

SIZES = [(900, 500), (480, 640), (320, 240), (1280, 720)]


def _picture(renderer: Renderer) -> Picture:
    renderer.draw(pose_of(jawOpen=0.5), overlay=Overlay(None, "a sign", ("a figure",)), stamp=5)
    return renderer.read()


def _follow(renderer: Renderer, size: tuple[int, int]) -> None:
    """Draw until the renderer has the window's size."""
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
    """Camera, backdrop, paint and letters follow, even after a size in which nothing is visible."""
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
def test_a_window_resized_two_hundred_times_lives(renderer: str, x_display: str, tmp_path: Path) -> None:
    """Up and down, in one process; at the end the whole window is drawn, including the area that was added."""
    log = tmp_path / "edge.log"
    with client_window(x_display, log, "--size", "640x360", "--renderer", renderer, "--background-colour", "#40c040") as client:
        _resized(client, 200)
        for size in SIZES:
            client.resize(*size)
            _assert_filled(client)
    assert log.read_text().count("The face is drawn by") == 1


def _assert_filled(client: ClientWindow) -> None:
    """All edges of the window are green except the bottom, where the body is."""
    until = time.monotonic() + PATIENCE_S
    while True:
        seen = client.look().astype(int)
        edges = np.concatenate([seen[0], seen[-1, :8], seen[-1, -8:], seen[: len(seen) // 3, 0], seen[: len(seen) // 3, -1]])
        if (edges[:, 1] > edges[:, 0] + 5).all():
            return
        assert time.monotonic() < until, "not all of the window is drawn"
        time.sleep(0.05)


def test_a_machine_without_llvm_shows_the_vector_face(x_display: str, tmp_path: Path) -> None:
    """Mesa's softpipe crashes if a window is opened again after a refused one, and is too slow for this test."""
    with client_window(x_display, tmp_path / "edge.log", "--size", "320x240", variables={"GALLIUM_DRIVER": "softpipe"}) as client:
        assert np.ptp(client.look()) > 100
    log = client.log.read_text()
    assert "drawn by the vector face, desktop" in log
    assert "pygame-ce" not in log
    assert "softpipe draws only a few pictures a second" in log


@pytest.mark.parametrize(
    "variables",
    [{"MESA_GLES_VERSION_OVERRIDE": "2.0", "MESA_GL_VERSION_OVERRIDE": "2.1"}, {"__EGL_VENDOR_LIBRARY_DIRS": "/nowhere"}],
    ids=["GLES 2 only", "no EGL"],
)
def test_a_machine_without_gles_3_shows_the_vector_face(variables: dict[str, str], x_display: str, tmp_path: Path) -> None:
    """A machine without GLES 3 shows the vector face in the window, with the reason."""
    with client_window(x_display, tmp_path / "edge.log", "--size", "320x240", variables=variables) as client:
        assert np.ptp(client.look()) > 100
    log = client.log.read_text()
    assert "drawn by the vector face, desktop" in log
    assert "No face by gles desktop" in log


@pytest.mark.parametrize("choice", ["gles", "flat"])
def test_a_large_window_shows_a_smaller_picture_scaled_up(choice: RendererChoice, x_display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is filled completely, even after it has grown; the picture read back is the smaller one."""
    monkeypatch.setenv("DISPLAY", x_display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    largest = (320, 180)
    opened = open_face(choice=choice, size=(640, 360), fullscreen=False, headless=False, largest=largest)
    with closing(opened.renderer) as renderer:
        for size in ((640, 360), (1280, 720), (300, 160), (1100, 500)):
            resize_own_window(x_display, *size)
            until = time.monotonic() + PATIENCE_S
            while not _is_scaled_up(renderer, look_at_own_window(x_display), size):
                assert time.monotonic() < until
                renderer.poll()
                _picture(renderer)
                renderer.show()
            assert renderer.size == bounded(size, largest)


def _is_scaled_up(renderer: Renderer, seen: Picture, size: tuple[int, int]) -> bool:
    """Whether the window shows the picture read back, in its own size."""
    small = _picture(renderer)
    renderer.show()
    expected = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BILINEAR)).astype(int)
    return seen.shape == expected.shape and float(np.abs(seen - expected).mean()) < 4


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("choice", ["gles", "flat"])
def test_a_turned_picture_fills_the_window(choice: RendererChoice, rotation: int, x_display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clockwise; the picture read back is upright, and as tall as the window is wide."""
    monkeypatch.setenv("DISPLAY", x_display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    opened = open_face(choice=choice, size=(400, 300), fullscreen=False, headless=False, rotation=rotation)
    with closing(opened.renderer) as renderer:
        for size in ((400, 300), (320, 480)):
            resize_own_window(x_display, *size)
            until = time.monotonic() + PATIENCE_S
            while not _is_turned(renderer, look_at_own_window(x_display), rotation):
                assert time.monotonic() < until
                renderer.poll()
            assert renderer.size == (size if rotation == 180 else size[::-1])


def _is_turned(renderer: Renderer, seen: Picture, rotation: int) -> bool:
    """Whether the window shows the picture read back, turned."""
    expected = np.rot90(_picture(renderer), -rotation // 90).astype(int)
    renderer.show()
    return seen.shape == expected.shape and float(np.abs(seen - expected).mean()) < 1
