"""SDL's side of a face: environment before it starts, driver and card choice, and the window's events."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

from edge_client.face.renderer import Wish

DRM_ROOT = Path("/sys/class/drm")

_SETTINGS = {
    "SDL_NO_SIGNAL_HANDLERS": "1",  # the program's own handlers stop it
    "SDL_VIDEO_X11_FORCE_EGL": "1",  # the GL binding asks EGL for the context; SDL would use GLX on X
}


def connected_cards(root: Path = DRM_ROOT) -> list[int]:
    """The numbers of the DRM cards that have a screen attached, lowest first.

    On a Raspberry Pi 5 the GPU and the display controllers are cards of their own, and their order changes from boot to boot.
    """
    cards = set()
    for status in root.glob("card*-*/status"):
        number = status.parent.name.removeprefix("card").split("-", 1)[0]
        try:
            connected = status.read_text().strip() == "connected"
        except OSError:
            continue
        if connected and number.isdecimal():
            cards.add(int(number))
    return sorted(cards)


def desktop_drivers() -> str:
    """SDL's drivers for the displays that the environment names, as SDL wants them listed; empty without a desktop.

    They are named, because SDL by its own choice draws off-screen, silently, when a display does not answer.
    """
    named = (("DISPLAY", "x11"), ("WAYLAND_DISPLAY", "wayland"))
    return ",".join(driver for variable, driver in named if os.environ.get(variable))


def start_sdl(drivers: str, card: int | None = None) -> None:
    """(Re)start SDL's video with the first of some drivers that works, on the console with one DRM card. Raises `pygame.error`."""
    pygame.display.quit()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ["SDL_VIDEODRIVER"] = drivers
    if card is not None:
        os.environ["SDL_KMSDRM_DEVICE_INDEX"] = str(card)
    pygame.display.init()


def poll_window() -> Wish:
    """Take all waiting events; leaving comes first."""
    wish = Wish.NONE
    for event in pygame.event.get():
        if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
            return Wish.LEAVE
        if event.type == pygame.KEYDOWN and event.key == pygame.K_h:
            wish = Wish.FIGURES
    return wish
