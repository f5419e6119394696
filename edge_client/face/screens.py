"""Chooses where and how the face is drawn: the first way that works, and why the better ones failed.

Order: on the desktop (X or Wayland): the displays that environment variables name, else those whose sockets exist; on the console (KMS)
of each graphics card with a screen attached; off-screen. In each place GLES is tried first, then the vector face. `headless`: only
off-screen. If the variable SDL_VIDEODRIVER is set, only the places of its drivers are tried.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypedDict, assert_never

from edge_client.choices import LARGEST_SOFT
from edge_client.colours import AS_PAINTED, FaceColours
from edge_client.errors import AssetError, ScreenError
from edge_client.face.detail import USUAL_LOOK, HeadLook
from edge_client.face.displays import DesktopDisplay, desktop_displays
from edge_client.face.framing import WHOLE, Framing
from edge_client.face.gl.probe import GlDriver, Probe
from edge_client.face.monitors import choose
from edge_client.face.renderer import Renderer
from edge_client.face.window import DRIVER_VARIABLE, connected_cards, monitors, start_sdl

RendererChoice = Literal["auto", "gles", "flat"]
RendererKind = Literal["gles", "flat"]

_log = logging.getLogger(__name__)

_INSTALL = (
    "apt install libegl1 libgles2 libgl1-mesa-dri libgbm1 libdrm2; on the console the user must be in the groups video, render and input"
)
_CAPTION = "avatar-relay"
NONE_KNOWN: Mapping[str, GlDriver] = MappingProxyType({})
_OFF_SCREEN = ("offscreen", "dummy")


@dataclass(frozen=True, slots=True)
class Place:
    """One way to try: what draws, and where."""

    kind: RendererKind
    where: Literal["desktop", "console", "off-screen"]
    card: int | None = None
    """The DRM card of a console."""
    display: DesktopDisplay | None = None
    """The display of a desktop."""

    def __str__(self) -> str:
        at = self.display.name if self.display is not None else self.card if self.card is not None else ""
        return f"{self.kind} {self.where} {at}".rstrip()

    @property
    def driver(self) -> str:
        """SDL's driver."""
        match self.where:
            case "desktop":
                return self.display.driver if self.display is not None else ""
            case "console":
                return "kmsdrm"
            case "off-screen":
                return "offscreen" if self.kind == "gles" else "dummy"
            case _:
                assert_never(self.where)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that the driver reads."""
        card = {} if self.card is None else {"SDL_KMSDRM_DEVICE_INDEX": str(self.card)}
        return card | dict(self.display.variables if self.display is not None else ())


@dataclass(frozen=True, slots=True)
class OpenedFace:
    """A renderer, the place where it draws, and why no better one was chosen."""

    renderer: Renderer
    place: Place
    reasons: tuple[str, ...]
    driver: GlDriver | None = None
    """The result of its trial, reused for the next start at this place."""


def places(
    choice: RendererChoice, *, headless: bool, displays: Sequence[DesktopDisplay], cards: Sequence[int], drivers: str = ""
) -> list[Place]:
    """List the ways to try, best first. Pure. `drivers` is the user's SDL_VIDEODRIVER, separated by commas; empty for all."""
    kinds: tuple[RendererKind, ...]
    match choice:
        case "auto":
            kinds = ("gles", "flat")
        case "gles" | "flat":
            kinds = (choice,)
        case _:
            assert_never(choice)
    found: list[Place] = []
    if not headless:
        found += [Place(kind, "desktop", display=display) for display in displays for kind in kinds]
        found += [Place(kind, "console", card) for kind in kinds for card in cards]
    wanted = tuple(name.strip() for name in drivers.split(",") if name.strip())
    found = [place for place in found if not wanted or place.driver in wanted]
    return found + [Place(kind, "off-screen") for kind in kinds]


def places_here(choice: RendererChoice, *, headless: bool, environment: Mapping[str, str]) -> list[Place]:
    """List the ways to try on this machine in its current state."""
    drivers = environment.get(DRIVER_VARIABLE, "")
    displays = desktop_displays(environment)
    unknown = [name for name in drivers.split(",") if name not in ("", "x11", "wayland", "kmsdrm", *_OFF_SCREEN)]
    displays += [DesktopDisplay(name, name) for name in unknown]  # SDL may support it
    return places(choice, headless=headless, displays=displays, cards=connected_cards(), drivers=drivers)


def open_renderer(
    *, choice: RendererChoice, size: tuple[int, int], fullscreen: bool, headless: bool, colours: FaceColours = AS_PAINTED
) -> Renderer:
    """Open the best renderer that works here. See `open_face`."""
    return open_face(choice=choice, size=size, fullscreen=fullscreen, headless=headless, colours=colours).renderer


def _ignore(place: Place) -> None:
    pass


def open_face(
    *,
    choice: RendererChoice,
    size: tuple[int, int],
    fullscreen: bool,
    headless: bool,
    monitor: str = "",
    colours: FaceColours = AS_PAINTED,
    largest: tuple[int, int] = LARGEST_SOFT,
    rotation: int = 0,
    framing: Framing = WHOLE,
    head_file: Path | None = None,
    head_look: HeadLook = USUAL_LOOK,
    avoid: frozenset[str] = frozenset(),
    known: Mapping[str, GlDriver] = NONE_KNOWN,
    on_try: Callable[[Place], None] = _ignore,
) -> OpenedFace:
    """Open the best way that works here. Logs why better ones failed, and a warning if a window was requested but nobody will see the face.

    `size` is width and height in pixels, 64 to 8,192 each; a full screen and a console use the screen's own size instead. The CPU draws
    no more pixels than `largest` has. `monitor`: see `choose`; a place without that monitor is skipped. `rotation` turns the picture in
    its window, in degrees clockwise, a multiple of 90. `head_file` is the head that GLES draws, with the look `head_look`; it does not
    affect the vector face. The kinds in `avoid` are tried last. The GL driver of a place that is in `known` is not tried again. `on_try`
    is called with each way before it is tried, which may end the process. Call it on the main thread, once at a time in a process: SDL
    has one display. Raises `ScreenError` if nothing works.
    """
    if not all(64 <= side <= 8192 for side in size):
        raise ScreenError(f"a picture of {size[0]}x{size[1]} pixels is impossible: each side must be 64 to 8192")
    ways = sorted(places_here(choice, headless=headless, environment=os.environ), key=lambda way: way.kind in avoid)
    reasons = [f"{kind}: it crashed repeatedly" for kind in sorted(avoid)]
    if not headless and all(way.where == "off-screen" for way in ways):
        reasons.append("no window: neither DISPLAY nor WAYLAND_DISPLAY is set, no display was found, and no screen is attached to a card")
        _log.warning("Drawing off-screen: %s", reasons[-1])
    drawing = _Drawing(colours=colours, largest=largest, rotation=rotation, framing=framing)
    for way in ways:
        on_try(way)
        try:
            if way.display is not None and not way.display.answers():
                raise ScreenError("no display answers there")
            driver = known.get(str(way)) or _tried(way, patient=choice == "gles")
            renderer = _open(way, driver, _Look(size, fullscreen, monitor, drawing, head_file, head_look))
        except (ScreenError, AssetError) as error:
            reasons.append(f"{way}: {error}")
            _log.warning("No face by %s: %s", way, error)
            continue
        _log.info("The face is drawn by %s", renderer.name)
        return OpenedFace(renderer, way, tuple(reasons), driver)
    raise ScreenError("no renderer works: " + "; ".join(reasons) + f". Install what is missing: {_INSTALL}")


def is_better_there(opened: Place, choice: RendererChoice, environment: Mapping[str, str], cards: Sequence[int]) -> bool:
    """Whether a display is now available for a face drawn off-screen: one that answers, or a screen on a card not in `cards`."""
    if opened.where != "off-screen":
        return False
    ways = places_here(choice, headless=False, environment=environment)
    return any(_is_there(way, cards) for way in ways)


def _is_there(way: Place, cards: Sequence[int]) -> bool:
    if way.display is not None:
        return way.display.answers()
    return way.where == "console" and way.card not in cards


class _Drawing(TypedDict):
    """Keyword arguments of a renderer."""

    colours: FaceColours
    largest: tuple[int, int]
    rotation: int
    framing: Framing


@dataclass(frozen=True, slots=True)
class _Look:
    """Settings common to all renderers."""

    size: tuple[int, int]
    fullscreen: bool
    monitor: str
    drawing: _Drawing
    head_file: Path | None
    head: HeadLook


def _open(way: Place, driver: GlDriver | None, look: _Look) -> Renderer:
    try:
        return _open_once(way, driver, look)
    except ScreenError:
        if driver is None or not driver.samples or way.where != "console":
            raise
        return _open_once(way, replace(driver, samples=0), look)  # the trial was not on the console itself


def _open_once(way: Place, driver: GlDriver | None, look: _Look) -> Renderer:
    """Start SDL's video, and open its window exactly once."""
    import pygame  # after `window` has set its environment; and off-screen programs without a face do not need it

    whole = way.where == "console" or (look.fullscreen and way.where == "desktop")
    try:
        start_sdl(way.driver, way.variables)
        there = monitors()
        monitor = 0 if way.where == "off-screen" else choose(look.monitor, there)
        if whole:
            look = replace(look, size=there[monitor].size)
        renderer = _make(way, driver, look, pygame.FULLSCREEN if whole else 0, monitor)
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


def _tried(way: Place, *, patient: bool) -> GlDriver | None:
    """Return the GL driver of a place. Raises `ScreenError` if it fails, or is too slow and the caller is not `patient`.

    A console is not opened for the trial: that would switch the screen's mode twice.
    """
    if way.kind != "gles":
        return None
    driver = Probe("offscreen" if way.where == "console" else way.driver, way.variables).driver()
    if driver.is_slow and not patient:
        raise ScreenError(f"{driver.device} draws only a few pictures a second")
    return driver


def _hint(way: Place) -> str:
    """Add what SDL leaves out: it has one error text for a missing driver, a missing device and missing permissions."""
    if way.where == "console" and way.card is not None:
        return f"; /dev/dri/card{way.card} must be there, free (no desktop runs), and open to this user (groups video and render)"
    return ""


def _make(way: Place, driver: GlDriver | None, look: _Look, flags: int, monitor: int) -> Renderer:
    import pygame

    if driver is not None:
        from edge_client.face.gles import GlesRenderer  # its imports take 0.2 s, and the vector face does not need them

        vsync = driver.vsync or way.where == "console"  # the trial was not on the console, which always supports it
        return GlesRenderer(
            look.size,
            flags,
            way.where,
            samples=driver.samples,
            vsync=vsync,
            monitor=monitor,
            head_file=look.head_file,
            look=look.head,
            **look.drawing,
        )
    from edge_client.face.flat import FlatRenderer

    name = f"the vector face, {way.where} ({pygame.display.get_driver()})"
    return FlatRenderer(pygame.display.set_mode(look.size, flags, 32, monitor), name, **look.drawing)
