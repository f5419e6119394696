"""SDL's side of a face: environment before it starts, driver and card choice, and the window's events."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

from edge_client.face.monitors import Monitor
from edge_client.face.renderer import Wish

DRM_ROOT = Path("/sys/class/drm")
DRIVER_VARIABLE = "SDL_VIDEODRIVER"

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


def sdl_environment(driver: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What SDL reads from the environment when it starts with a driver, and what that reads.

    The driver is named, because SDL by its own choice draws off-screen, silently, when a display does not answer.
    """
    return {**{name: os.environ.get(name, value) for name, value in _SETTINGS.items()}, **variables, DRIVER_VARIABLE: driver}


def start_sdl(driver: str, variables: Mapping[str, str]) -> None:
    """(Re)start SDL's video with a driver, and with variables for it. Raises `pygame.error`."""
    pygame.display.quit()
    users = os.environ.get(DRIVER_VARIABLE)
    os.environ.update(sdl_environment(driver, variables))
    try:
        pygame.display.init()
    finally:  # what a person set there is read again at the next start
        del os.environ[DRIVER_VARIABLE]
        os.environ.update({} if users is None else {DRIVER_VARIABLE: users})


def monitors() -> list[Monitor]:
    """Those of the display or console that SDL's video was started on."""
    sizes = pygame.display.get_desktop_sizes()
    return [Monitor(_monitor_name(number), size) for number, size in enumerate(sizes)]


def _monitor_name(number: int) -> str:
    """As SDL has it, which pygame does not hand on; empty if it has none."""
    with Path("/proc/self/maps").open() as maps:
        library = next((line.split(maxsplit=5)[5].strip() for line in maps if "/libSDL2-2" in line), None)
    if library is None:
        return ""
    get_name = ctypes.CDLL(library).SDL_GetDisplayName
    get_name.restype = ctypes.c_char_p
    return (get_name(number) or b"").decode(errors="replace")


def poll_window(on_resized: Callable[[], None]) -> Wish:
    """Take all waiting events; leaving comes first. `on_resized` is called once if the window got another size.

    A person who closes the window causes WINDOWCLOSE, and then QUIT; SDL sends QUIT alone when the display itself is gone.
    """
    wish, resized = Wish.NONE, False
    for event in pygame.event.get():
        if event.type == pygame.WINDOWCLOSE or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
            return Wish.LEAVE
        if event.type == pygame.QUIT:
            wish = Wish.LOST
        if event.type == pygame.KEYDOWN and event.key == pygame.K_h and wish is not Wish.LOST:
            wish = Wish.FIGURES
        resized = resized or event.type == pygame.WINDOWSIZECHANGED
    if resized and wish is not Wish.LOST:
        on_resized()
    return wish
