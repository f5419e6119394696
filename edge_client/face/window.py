"""SDL's side of a face: the environment before it starts, the choice of driver and card, and the window's events."""

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
    "SDL_VIDEO_X11_FORCE_EGL": "1",  # the GL binding gets the context from EGL; SDL would use GLX on X
}


def connected_cards(root: Path = DRM_ROOT) -> list[int]:
    """List the numbers of the DRM cards with a connected screen, lowest first.

    On a Raspberry Pi 5 the GPU and the display controllers are separate cards, and their order changes from boot to boot.
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
    """Environment variables that SDL reads when it starts with a driver, and those that the driver reads.

    The driver is named, because SDL on its own falls back silently to drawing off-screen if a display does not answer.
    """
    return {**{name: os.environ.get(name, value) for name, value in _SETTINGS.items()}, **variables, DRIVER_VARIABLE: driver}


def start_sdl(driver: str, variables: Mapping[str, str]) -> None:
    """(Re)start SDL's video with a driver, and with variables for it. Raises `pygame.error`."""
    pygame.display.quit()
    users = os.environ.get(DRIVER_VARIABLE)
    os.environ.update(sdl_environment(driver, variables))
    try:
        pygame.display.init()
    finally:  # the user's own values are needed again at the next start
        del os.environ[DRIVER_VARIABLE]
        os.environ.update({} if users is None else {DRIVER_VARIABLE: users})


def monitors() -> list[Monitor]:
    """List the monitors of the display or console on which SDL's video was started."""
    sizes = pygame.display.get_desktop_sizes()
    return [Monitor(_monitor_name(number), size) for number, size in enumerate(sizes)]


def _monitor_name(number: int) -> str:
    """A monitor's name in SDL, which pygame does not expose; empty if it has none."""
    with Path("/proc/self/maps").open() as maps:
        library = next((line.split(maxsplit=5)[5].strip() for line in maps if "/libSDL2-2" in line), None)
    if library is None:
        return ""
    get_name = ctypes.CDLL(library).SDL_GetDisplayName
    get_name.restype = ctypes.c_char_p
    return (get_name(number) or b"").decode(errors="replace")


def poll_window(on_resized: Callable[[], None]) -> Wish:
    """Process all waiting events; a request to leave has priority. `on_resized` is called once if the window's size changed.

    A person who closes the window causes WINDOWCLOSE, then QUIT; SDL sends QUIT alone if the display itself has disappeared.
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
