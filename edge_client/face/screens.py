"""Where and how the face is drawn: the first way that works, and why the better ones did not.

Order: on the desktop (X or Wayland) when the environment names one, else on the console (KMS) of each graphics card with a screen
attached, else off-screen; in each place GLES first, then the vector face. With `headless` only off-screen.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from edge_client.colours import AS_PAINTED, FaceColours
from edge_client.errors import AssetError, ScreenError
from edge_client.face.gl.probe import GlDriver, probe_of
from edge_client.face.renderer import Renderer
from edge_client.face.window import connected_cards, desktop_drivers, start_sdl

RendererChoice = Literal["auto", "gles", "flat"]

_log = logging.getLogger(__name__)

_INSTALL = (
    "apt install libegl1 libgles2 libgl1-mesa-dri libgbm1 libdrm2; on the console the user must be in the groups video, render and input"
)
_CAPTION = "avatar-relay"


@dataclass(frozen=True, slots=True)
class Place:
    """One way to try: what draws, and where."""

    kind: Literal["gles", "flat"]
    where: Literal["desktop", "console", "off-screen"]
    card: int | None = None
    """The DRM card of a console."""


def places(choice: RendererChoice, *, headless: bool, desktop: bool, cards: list[int]) -> list[Place]:
    """The ways to try, best first. Pure."""
    kinds: tuple[Literal["gles", "flat"], ...]
    match choice:
        case "auto":
            kinds = ("gles", "flat")
        case "gles" | "flat":
            kinds = (choice,)
        case _:
            assert_never(choice)
    found: list[Place] = []
    if not headless and desktop:
        found += [Place(kind, "desktop") for kind in kinds]
    elif not headless:
        found += [Place(kind, "console", card) for kind in kinds for card in cards]
    return found + [Place(kind, "off-screen") for kind in kinds]


def open_renderer(
    *, choice: RendererChoice, size: tuple[int, int], fullscreen: bool, headless: bool, colours: FaceColours = AS_PAINTED
) -> Renderer:
    """The best renderer that works here; logs why better ones did not, and a warning when nobody will see it though a window was asked for.

    `size` is width and height in pixels, 64 to 8,192 each; a full screen and a console take the screen's own size instead. Call it
    on the main thread, once at a time in a process: SDL has one display. Raises `ScreenError` when nothing works.
    """
    if not all(64 <= side <= 8192 for side in size):
        raise ScreenError(f"a picture of {size[0]}x{size[1]} pixels can not be: each side is 64 to 8192")
    ways = places(choice, headless=headless, desktop=bool(desktop_drivers()), cards=connected_cards())
    reasons: list[str] = []
    if not headless and ways[0].where == "off-screen":
        reasons.append("no window: neither DISPLAY nor WAYLAND_DISPLAY is set, and no screen is attached to a graphics card")
        _log.warning("Drawing off-screen: %s", reasons[0])
    for way in ways:
        try:
            renderer = _open(way, size, fullscreen, colours, patient=choice == "gles")
        except (ScreenError, AssetError) as error:
            reasons.append(f"{way.kind} {way.where}: {error}")
            _log.warning("No face by %s %s: %s", way.kind, way.where, error)
            continue
        _log.info("The face is drawn by %s", renderer.name)
        return renderer
    raise ScreenError("no way to draw works: " + "; ".join(reasons) + f". Install what is missing: {_INSTALL}")


def prepare_renderer(*, choice: RendererChoice, headless: bool) -> None:
    """Begin to try the GL driver of the first way in a process of its own, so that `open_renderer` waits less for its answer."""
    first = places(choice, headless=headless, desktop=bool(desktop_drivers()), cards=connected_cards())[0]
    if first.kind == "gles":
        with suppress(ScreenError):
            probe_of(_trial_drivers(first))


def _open(way: Place, size: tuple[int, int], fullscreen: bool, colours: FaceColours, *, patient: bool) -> Renderer:
    driver = _tried(way, patient=patient) if way.kind == "gles" else None
    try:
        return _open_once(way, driver, size, fullscreen, colours)
    except ScreenError:
        if driver is None or not driver.samples or way.where != "console":
            raise
        return _open_once(way, replace(driver, samples=0), size, fullscreen, colours)  # the trial was not on the console itself


def _open_once(way: Place, driver: GlDriver | None, size: tuple[int, int], fullscreen: bool, colours: FaceColours) -> Renderer:
    """Start SDL's video, and open its window exactly once."""
    import pygame  # after `window` has set its environment; and off-screen programs without a face do not need it

    whole = way.where == "console" or (fullscreen and way.where == "desktop")
    try:
        start_sdl(_drivers(way), way.card)
        if whole:
            size = pygame.display.get_desktop_sizes()[0]
        renderer = _make(way, driver, size, pygame.FULLSCREEN if whole else 0, colours)
    except pygame.error as error:
        pygame.display.quit()
        raise ScreenError(f"SDL says: {error}{_hint(way)}") from error
    except (ScreenError, AssetError):
        pygame.display.quit()
        raise
    if way.where != "off-screen":
        pygame.display.set_caption(_CAPTION)
        pygame.mouse.set_visible(not whole)
    return renderer


def _tried(way: Place, *, patient: bool) -> GlDriver:
    """What the GL driver of a place is. Raises `ScreenError` where it fails, or is too slow for someone who is not patient."""
    driver = probe_of(_trial_drivers(way)).driver()
    if driver.is_slow and not patient:
        raise ScreenError(f"{driver.device} draws only a few pictures a second")
    return driver


def _trial_drivers(way: Place) -> str:
    """SDL's drivers for the trial: a console is not opened for it, which would switch the screen's mode twice."""
    return "offscreen" if way.where == "console" else _drivers(way)


def _hint(way: Place) -> str:
    """What SDL does not say: it has one text for a missing driver, a missing device and missing rights."""
    if way.where == "console" and way.card is not None:
        return f"; /dev/dri/card{way.card} must be there, free (no desktop runs), and open to this user (groups video and render)"
    return ""


def _drivers(way: Place) -> str:
    match way.where:
        case "desktop":
            return desktop_drivers()
        case "console":
            return "kmsdrm"
        case "off-screen":
            return "offscreen" if way.kind == "gles" else "dummy"
        case _:
            assert_never(way.where)


def _make(way: Place, driver: GlDriver | None, size: tuple[int, int], flags: int, colours: FaceColours) -> Renderer:
    import pygame

    if driver is not None:
        from edge_client.face.gles import GlesRenderer  # costs 0.2 s of imports that the vector face does not need

        vsync = driver.vsync or way.where == "console"  # the trial was not on the console, which always can
        return GlesRenderer(size, flags, way.where, samples=driver.samples, vsync=vsync, colours=colours)
    from edge_client.face.flat import FlatRenderer

    name = f"the vector face, {way.where} ({pygame.display.get_driver()})"
    return FlatRenderer(pygame.display.set_mode(size, flags, 32), name, colours=colours)
