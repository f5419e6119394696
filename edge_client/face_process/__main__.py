"""The child: `python -m edge_client.face_process CHANNEL PULSE [FILM]` draws until its channel ends.

It first reports the reason for its end, and then exits without closing anything in which a driver could hang.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import pickle
import shlex
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

from edge_client.children.inside import begin
from edge_client.children.pulse import Pulse
from edge_client.config import EdgeConfig
from edge_client.errors import EdgeError
from edge_client.face.attention import Attention
from edge_client.face.detail import HeadLook
from edge_client.face.exchange import Answer
from edge_client.face.framing import Framing
from edge_client.face.idle import make_life
from edge_client.face.pictures import PictureObserver
from edge_client.face.render_loop import RenderLoop
from edge_client.face.renderer import Renderer, Wish
from edge_client.face_process.asking import AskedSource
from edge_client.face_process.display_watch import watch_display
from edge_client.face_process.factory import open_installed
from edge_client.face_process.messages import MAX_START_BYTES, Drawing, FaceStart, Leaving, Message, Trying, Watcher, pack_message
from edge_client.face_process.screen_power import ScreenPower
from edge_client.renderers import BUILT_IN

UNSEEN_S = 1.0
"""How often a face that nobody sees checks whether that has changed."""


def main(arguments: list[str]) -> None:
    """Run the child; does not return, but ends the process."""
    parent = begin(arguments)
    logging.basicConfig(level="WARNING", format="%(name)s: %(message)s")
    start: FaceStart = pickle.loads(parent.channel.recv(MAX_START_BYTES))
    film = int(parent.arguments[0]) if start.is_filmed else None
    observers: list[PictureObserver] = []
    status = 0
    try:
        observers += _observers(start, film)
        leaving = _draw(parent.channel, parent.pulse, start, observers)
    except EdgeError as error:
        leaving, status = Leaving("failed", str(error)), 1
    except Exception:
        logging.getLogger(__name__).exception("the face failed")  # the parent reads the end of it, and counts it as a crash
        leaving, status = None, 1
    for observer in observers:
        observer.close()
    if leaving is not None:
        with contextlib.suppress(OSError):
            parent.channel.send(pack_message(leaving))
    os._exit(status)


def _draw(channel: socket.socket, pulse: Pulse, start: FaceStart, observers: list[PictureObserver]) -> Leaving | None:
    """Draw until the end; returns its reason, None if the parent requested it. Errors of the renderer propagate."""

    def say(message: Message) -> None:
        channel.send(pack_message(message))

    config = start.config
    renderer, where, is_better_there = _open(start, say)
    watch_display()
    power = ScreenPower(shlex.split(config.sleep_command), is_dark=start.is_dark) if config.may_sleep else None

    def switch(answer: Answer) -> None:
        if power is not None:
            power.set(dark=answer.overlay.is_dark)

    source = AskedSource(channel, pulse, on_answer=switch)
    loop = RenderLoop(
        source=source,
        renderer=renderer,
        life=make_life(start.name, idle_life=config.idle_life),
        clock_us=lambda: time.monotonic_ns() // 1_000,
        sleep_s=time.sleep,
        observers=observers,
        attention=Attention() if config.idle_life else None,
        pictures_per_second=config.pictures_per_second,
        stamped=config.stamp,
    )
    loop.warm_up(is_read=bool(observers))
    gc.collect()
    gc.freeze()
    search = _Search(is_better_there, start.search_s)

    def is_over() -> bool:
        return source.has_ended or search.found()

    is_seen = where != "off-screen" or bool(observers) or start.is_watched or power is not None
    wish = loop.run(is_over) if is_seen else _draw_for_nobody(loop, source, is_over)
    if power is not None and (source.has_ended or wish is Wish.LEAVE):
        power.close()
    if source.has_ended:
        renderer.close()
        return None
    if wish is Wish.LEAVE:
        renderer.close()
        return Leaving("closed", "its window was closed")
    return Leaving("lost", "the display has gone") if wish is Wish.LOST else Leaving("screen", "there is a screen now")


def _draw_for_nobody(loop: RenderLoop, source: AskedSource, is_over: Callable[[], bool]) -> Wish:
    """Prove that drawing works, then draw nothing more. The second picture's question reports that the first one was shown."""
    loop.picture()
    loop.picture()
    while not is_over():
        source.rest(UNSEEN_S)
    return Wish.NONE


class _Search:
    """Looks for a better place from time to time."""

    def __init__(self, is_better_there: Callable[[], bool], every_s: float) -> None:
        self._is_better_there = is_better_there
        self._every_s = every_s
        self._due_s = time.monotonic() + every_s

    def found(self) -> bool:
        """Whether a better place exists; checks only if a check is due."""
        if time.monotonic() < self._due_s:
            return False
        self._due_s = time.monotonic() + self._every_s
        return self._is_better_there()


def _open(start: FaceStart, say: Callable[[Message], None]) -> tuple[Renderer, str, Callable[[], bool]]:
    """Return the renderer, the place where it draws, and a function that checks for a better place.

    Raises `EdgeError`, and the errors of renderers of other packages.
    """
    config = start.config
    if config.renderer not in BUILT_IN:
        say(Trying(config.renderer))
        renderer = open_installed(config)
        say(Drawing(renderer.name, config.renderer, "own"))
        return renderer, "own", lambda: False
    return _open_built_in(start, config, say)


def _open_built_in(start: FaceStart, config: EdgeConfig, say: Callable[[Message], None]) -> tuple[Renderer, str, Callable[[], bool]]:
    from edge_client.face import screens  # imports pygame, which an installed renderer does not need
    from edge_client.face.gl.probe import GlDriver
    from edge_client.face.window import connected_cards

    choice: screens.RendererChoice = "gles" if config.renderer == "gles" else "flat" if config.renderer == "flat" else "auto"
    environment, cards = dict(os.environ), connected_cards()
    known = {place: GlDriver(**driver) for place, driver in start.known.items()}
    opened = screens.open_face(
        choice=choice,
        size=config.size,
        fullscreen=config.fullscreen,
        headless=config.headless,
        monitor=config.monitor,
        colours=config.colours,
        largest=config.render_size,
        rotation=config.rotation,
        framing=Framing(config.round_screen, config.burn_in_shift),
        head_file=config.head_file,
        head_look=HeadLook(config.detail, config.hair, config.background),
        avoid=start.avoid,
        known=known,
        on_try=lambda way: say(Trying(way.kind, way.display.addresses if way.display is not None else ())),
    )
    found = {str(opened.place): asdict(opened.driver)} if opened.driver is not None else {}
    say(Drawing(opened.renderer.name, opened.place.kind, opened.place.where, opened.reasons, found))
    return (
        opened.renderer,
        opened.place.where,
        lambda: not config.headless and screens.is_better_there(opened.place, choice, environment, cards),
    )


def _observers(start: FaceStart, film: int | None) -> list[PictureObserver]:
    """The observers of pictures in this process."""
    observers = [_made(watcher) for watcher in start.watchers]
    if film is not None:
        from edge_client.recording.film_keeper import FilmKeeper  # imports Pillow, needed only for a recording

        observers.append(FilmKeeper(film))
    return observers


def _made(watcher: Watcher) -> PictureObserver:
    module, _, name = watcher.path.partition(":")
    observer: PictureObserver = getattr(importlib.import_module(module), name)(watcher.argument)
    return observer


if __name__ == "__main__":
    main(sys.argv[1:])
