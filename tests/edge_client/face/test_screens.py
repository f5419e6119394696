"""Choosing the screen and the renderer."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from edge_client.errors import AssetError, ScreenError
from edge_client.face import gles as gles_module
from edge_client.face import screens
from edge_client.face.displays import DesktopDisplay, desktop_displays
from edge_client.face.renderer import Wish
from edge_client.face.screens import Place, open_renderer, places
from edge_client.face.window import connected_cards
from edge_client.motion.pose import neutral_pose

X = DesktopDisplay("x11", ":0")
WAYLAND = DesktopDisplay("wayland", "wayland-0")


def test_the_desktop_comes_first_then_the_console_and_gl_before_the_vector_face() -> None:
    """A display that does not answer does not hide a console."""
    assert places("auto", headless=False, displays=[X], cards=[0]) == [
        Place("gles", "desktop", display=X),
        Place("flat", "desktop", display=X),
        Place("gles", "console", 0),
        Place("flat", "console", 0),
        Place("gles", "off-screen"),
        Place("flat", "off-screen"),
    ]


def test_every_card_with_a_screen_is_tried_on_the_console() -> None:
    """GL on each card before the vector face on any."""
    found = places("auto", headless=False, displays=[], cards=[1, 2])
    assert found[:4] == [Place("gles", "console", 1), Place("gles", "console", 2), Place("flat", "console", 1), Place("flat", "console", 2)]


def test_headless_never_opens_a_window() -> None:
    """Whatever screens exist."""
    assert {place.where for place in places("auto", headless=True, displays=[X], cards=[0])} == {"off-screen"}


def test_a_choice_is_kept() -> None:
    """Only the chosen one is tried."""
    assert {place.kind for place in places("flat", headless=False, displays=[X], cards=[])} == {"flat"}


@pytest.mark.parametrize(
    ("drivers", "left"),
    [
        ("wayland", ["flat desktop wayland-0", "flat off-screen"]),
        ("kmsdrm, x11", ["flat desktop :0", "flat console 0", "flat off-screen"]),
        ("offscreen", ["flat off-screen"]),
    ],
)
def test_the_users_driver_is_respected(drivers: str, left: list[str]) -> None:
    """SDL_VIDEODRIVER restricts the screens to those of its driver, and off-screen."""
    assert [str(place) for place in places("flat", headless=False, displays=[X, WAYLAND], cards=[0], drivers=drivers)] == left


def test_the_users_driver_is_kept_in_the_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown driver too: it is tried, and requested again at the next start."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "futuristic")
    for _ in range(2):
        caplog.clear()
        open_renderer(choice="flat", size=(320, 240), fullscreen=False, headless=False).close()
        assert "No face by flat desktop futuristic" in caplog.text
    assert os.environ["SDL_VIDEODRIVER"] == "futuristic"


def test_connected_cards_are_read_from_the_kernel(tmp_path: Path) -> None:
    """As on a Raspberry Pi 5: the GPU has no connectors, one of two display cards has a screen."""
    for name, status in (("card1-HDMI-A-1", "disconnected"), ("card2-DSI-1", "connected"), ("card2-HDMI-A-2", "disconnected")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "status").write_text(status + "\n")
    (tmp_path / "card0").mkdir()
    (tmp_path / "renderD128").mkdir()
    assert connected_cards(tmp_path) == [2]
    assert connected_cards(tmp_path / "none") == []


def test_headless_opens_gl(caplog: pytest.LogCaptureFixture) -> None:
    """Without a window, GLES draws off-screen, without a warning."""
    caplog.set_level(logging.INFO)
    renderer = open_renderer(choice="auto", size=(320, 240), fullscreen=False, headless=True)
    renderer.draw(neutral_pose())
    assert renderer.read().shape == (240, 320, 3)
    assert renderer.size == (320, 240)
    assert "GL" in renderer.name
    assert renderer.poll() is Wish.NONE
    renderer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_without_gl_the_vector_face_is_drawn(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is logged."""

    def broken(*_: object) -> None:
        raise AssetError("the head is gone")

    monkeypatch.setattr(gles_module, "load_head", broken)
    renderer = open_renderer(choice="auto", size=(320, 240), fullscreen=False, headless=True)
    renderer.draw(neutral_pose())
    assert "vector" in renderer.name
    renderer.close()
    assert "the head is gone" in caplog.text


def test_without_any_screen_it_draws_off_screen_and_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A window was requested and there is no screen: drawing is off-screen, and reported."""
    monkeypatch.setattr(screens, "desktop_displays", lambda environment: [])
    monkeypatch.setattr(screens, "connected_cards", list)
    renderer = open_renderer(choice="flat", size=(320, 240), fullscreen=False, headless=False)
    renderer.close()
    assert "off-screen" in renderer.name
    assert "DISPLAY" in caplog.text


def test_a_console_that_can_not_be_had_says_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel lists a card that SDL cannot open: the card and the missing permissions are named, and drawing continues."""
    monkeypatch.setattr(screens, "desktop_displays", lambda environment: [])
    monkeypatch.setattr(screens, "connected_cards", lambda: [99])
    renderer = open_renderer(choice="flat", size=(320, 240), fullscreen=False, headless=False)
    renderer.close()
    assert "off-screen" in renderer.name
    assert "/dev/dri/card99" in caplog.text


def test_a_display_that_does_not_answer_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A stale DISPLAY does not stop the program."""
    monkeypatch.setattr(screens, "desktop_displays", lambda environment: desktop_displays(environment, x11_folder=tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":65500")
    renderer = open_renderer(choice="flat", size=(320, 240), fullscreen=False, headless=False)
    renderer.close()
    assert "off-screen" in renderer.name
    assert "No face by flat desktop :65500: no display answers there" in caplog.text


def test_when_nothing_works_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists all reasons, and the packages to install."""

    def broken(*_: object) -> None:
        raise AssetError("the head is gone")

    monkeypatch.setattr(gles_module, "load_head", broken)
    with pytest.raises(ScreenError, match=r"the head is gone.*libgles2"):
        open_renderer(choice="gles", size=(320, 240), fullscreen=False, headless=True)


@pytest.mark.parametrize("size", [(0, 480), (800, -1), (100_000, 480)])
def test_a_senseless_size_is_refused(size: tuple[int, int]) -> None:
    """An invalid size is refused before anything is opened."""
    with pytest.raises(ScreenError, match="64 to 8192"):
        open_renderer(choice="auto", size=size, fullscreen=False, headless=True)
