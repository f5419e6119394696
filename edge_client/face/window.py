"""SDL's side of a face: environment before it starts, driver and card choice, and the window's events."""

from __future__ import annotations

import os
from collections.abc import Callable
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


def sdl_environment(drivers: str, card: int | None = None) -> dict[str, str]:
    """What SDL reads from the environment when it starts with some drivers, on the console with one DRM card."""
    chosen = {"SDL_VIDEODRIVER": drivers} if card is None else {"SDL_VIDEODRIVER": drivers, "SDL_KMSDRM_DEVICE_INDEX": str(card)}
    return {**{name: os.environ.get(name, value) for name, value in _SETTINGS.items()}, **chosen}


def start_sdl(drivers: str, card: int | None = None) -> None:
    """(Re)start SDL's video with the first of some drivers that works, on the console with one DRM card. Raises `pygame.error`."""
    pygame.display.quit()
    os.environ.update(sdl_environment(drivers, card))
    pygame.display.init()


def poll_window(on_resized: Callable[[], None]) -> Wish:
    """Take all waiting events; leaving comes first. `on_resized` is called once where the window got another size."""
    wish, resized = Wish.NONE, False
    for event in pygame.event.get():
        if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
            return Wish.LEAVE
        if event.type == pygame.KEYDOWN and event.key == pygame.K_h:
            wish = Wish.FIGURES
        resized = resized or event.type == pygame.WINDOWSIZECHANGED
    if resized:
        on_resized()
    return wish
