"""A real window on a real X server, read back from the server by another process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pygame
import pytest
from PIL import Image

from edge_client.face.renderer import Picture, Renderer, Wish
from edge_client.face.screens import RendererChoice, open_renderer
from edge_client.motion.pose import Pose
from tests.edge_client.face.poses import pose_of
from tests.lab.face.pixels import mouth_opening_px
from tests.lab.face.read_stamp import read_stamp

SIZE = (800, 480)
_GRAB = "import sys; from PIL import ImageGrab; ImageGrab.grab(xdisplay=sys.argv[1]).convert('RGB').save(sys.argv[2])"
_PATIENCE_S = 10.0

Grab = Callable[[], Picture]


@pytest.fixture
def grab(x_display: str, tmp_path: Path) -> Grab:
    """The window's position on the screen as another process sees it; a window without a window manager is in the middle."""

    def take() -> Picture:
        target = tmp_path / "screen.png"
        subprocess.run([sys.executable, "-c", _GRAB, x_display, str(target)], check=True)
        with Image.open(target) as image:
            screen = np.asarray(image)
        top, left = (screen.shape[0] - SIZE[1]) // 2, (screen.shape[1] - SIZE[0]) // 2
        return screen[top : top + SIZE[1], left : left + SIZE[0]]

    return take


@pytest.fixture(params=["gles", "flat"])
def window(request: pytest.FixtureRequest, x_display: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    """A window of each renderer."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", x_display)
    choice: RendererChoice = request.param
    renderer = open_renderer(choice=choice, size=SIZE, fullscreen=False, headless=False)
    assert "x11" in renderer.name
    yield renderer
    renderer.close()


def _seen(window: Renderer, grab: Grab, pose: Pose, stamp: int) -> Picture:
    """Show until it is on the screen: X is asynchronous, and the first pictures may precede the mapping of the window."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        window.draw(pose, stamp=stamp)
        window.show()
        assert window.poll() is Wish.NONE
        screen = grab()
        if read_stamp(screen) == stamp:
            return screen
    pytest.fail(f"picture {stamp} never came to the screen")


def test_the_screen_shows_what_was_drawn(window: Renderer, grab: Grab) -> None:
    """Every picture is identified by its stamp, equal pixel for pixel, with the mouth as wide open as the pose."""
    openings = []
    for stamp, jaw in ((1, 0.0), (2, 0.3), (3, 0.7)):
        screen = _seen(window, grab, pose_of(jawOpen=jaw), stamp)
        difference = np.abs(screen.astype(int) - window.read()).max(2)
        assert (difference > 40).mean() < 0.002
        openings.append(mouth_opening_px(screen))
    assert openings[0] == 0
    assert 10 < openings[1] < openings[2]


def test_what_a_person_wants_is_told(window: Renderer) -> None:
    """The key h requests the figures; closing the window or Escape requests the end, which has priority."""
    assert window.poll() is Wish.NONE
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_h))
    assert window.poll() is Wish.FIGURES
    for end in (pygame.event.Event(pygame.WINDOWCLOSE), pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE)):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_h))
        pygame.event.post(end)
        assert window.poll() is Wish.LEAVE


def test_the_end_of_the_display_is_nobodys_wish(window: Renderer) -> None:
    """SDL sends QUIT alone when a Wayland compositor ends, and after WINDOWCLOSE when a person closes the window."""
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert window.poll() is Wish.LOST
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE))
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert window.poll() is Wish.LEAVE
    pygame.event.clear()


@pytest.mark.parametrize("choice", ["gles", "flat"])
def test_a_full_screen_takes_the_screens_size(choice: RendererChoice, x_display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever size was requested: a panel has one resolution."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", x_display)
    renderer = open_renderer(choice=choice, size=(320, 240), fullscreen=True, headless=False)
    renderer.draw(pose_of(jawOpen=0.5), stamp=9)
    assert renderer.size == (1280, 720)
    assert read_stamp(renderer.read()) == 9
    renderer.close()
