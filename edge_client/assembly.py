"""The parts of a device by its settings: what `app`, which plays for a relay, and `embedded`, which plays for an application, share."""

from __future__ import annotations

import gc
import logging
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge_client import renderers
from edge_client.audio.decoders import make_decoder
from edge_client.audio.sink import AudioSink
from edge_client.audio.sinks.virtual import VirtualSink
from edge_client.audio.sound import sinks_to_try
from edge_client.config import EdgeConfig
from edge_client.errors import ScreenError
from edge_client.face.renderer import Renderer
from edge_client.motion.avatarkit import FlameMap
from edge_client.motion.decoders import make_motion_decoder
from edge_client.observer import NULL, PlaybackObserver
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import PlaybackConfig
from edge_client.playback.playing import DecoderFactories

if TYPE_CHECKING:
    from edge_client.face.overlays import DeviceStatus
    from edge_client.face.render_loop import PictureObserver, RenderLoop

logger = logging.getLogger(__name__)

RendererFactory = Callable[[EdgeConfig], Renderer | None]
"""Opens a renderer; None for no face. Called on the main thread, which then draws. Raises `ScreenError` if it cannot draw here."""
TURN_S = 0.0005
"""How long a thread may hold the interpreter while others wait; with Python's 5 ms one that computes keeps sound and network waiting."""


def monotonic_us() -> int:
    """The clock of all of this program's times."""
    return time.monotonic_ns() // 1_000


def make_playback(config: EdgeConfig, sink: AudioSink, flame_map: FlameMap | None, observer: PlaybackObserver = NULL) -> PlaybackEngine:
    """A playback engine for `sink`. Without a `flame_map`, AvatarKit's motion is read by the one that ships."""
    playback_config = PlaybackConfig(
        frame_starvation=config.frame_starvation,
        mouth_source=config.mouth_source,
        output_offset_us=round(config.output_offset_ms * 1_000),
    )
    decoders = DecoderFactories(make_decoder, partial(make_motion_decoder, flame_map=flame_map))
    return PlaybackEngine(sink=sink, decoders=decoders, config=playback_config, observer=observer)


def why_soundless(config: EdgeConfig, sink: AudioSink) -> str:
    """Why nothing is heard, for people; empty while sound is heard, or none is wanted."""
    unwanted = isinstance(sink, VirtualSink) and "pyaudio" in sinks_to_try(config)
    return "No sound device was found: the face speaks, and nothing is heard." if unwanted else sink.counters().lost


def prepare_renderer(config: EdgeConfig) -> None:
    """Begin what `open_renderer` waits for, so that it takes place beside the start of the sound."""
    match config.renderer:
        case ("auto" | "gles" | "flat") as choice:
            from edge_client.face import screens  # pygame: only where a face is drawn

            screens.prepare_renderer(choice=choice, headless=config.headless)


def open_renderer(config: EdgeConfig) -> Renderer | None:
    """What draws the face; None for no face.

    Raises `ScreenError` if what was asked for by name cannot draw, and `ConfigError` for a renderer of another package that cannot be
    loaded.
    """
    try:
        match config.renderer:
            case "none":
                logger.info("no face is drawn, as configured")
                return None
            case ("auto" | "gles" | "flat") as choice:
                from edge_client.face import screens  # pygame: only where a face is drawn

                return screens.open_renderer(
                    choice=choice, size=config.size, fullscreen=config.fullscreen, headless=config.headless, colours=config.colours
                )
            case name:
                factory: RendererFactory = renderers.load(name)
                return factory(config)
    except ScreenError as error:
        if config.renderer != "auto":
            raise
        logger.error("no face is drawn, the sound goes on: %s", error)
        return None


def make_render_loop(
    config: EdgeConfig,
    playback: PlaybackEngine,
    renderer: Renderer,
    *,
    name: str,
    status: Callable[[], DeviceStatus],
    observers: Sequence[PictureObserver] = (),
    is_read: bool = False,
) -> RenderLoop:
    """The loop that draws `playback`, warmed up. `name` seeds the idle life; `is_read`: an observer will want pixels."""
    from edge_client.face.attention import Attention
    from edge_client.face.idle import IdleLife, StillLife
    from edge_client.face.overlays import FaceOverlays
    from edge_client.face.render_loop import RenderLoop

    overlays = FaceOverlays(status, figures=config.figures)
    loop = RenderLoop(
        playback=playback,
        renderer=renderer,
        life=IdleLife(zlib.crc32(name.encode())) if config.idle_life else StillLife(),
        clock_us=monotonic_us,
        sleep_s=time.sleep,
        observers=[overlays, *observers],
        overlays=overlays,
        attention=Attention() if config.idle_life else None,
        pictures_per_second=config.pictures_per_second,
        stamped=config.stamp,
    )
    loop.warm_up(is_read=is_read)
    return loop


@contextmanager
def smooth_drawing() -> Iterator[None]:
    """While something is drawn: threads take short turns, and the garbage collector does not walk what start-up made."""
    interval_s = sys.getswitchinterval()
    gc.collect()
    sys.setswitchinterval(TURN_S)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # else soxr complains at exit of resamplers that are never freed
        sys.setswitchinterval(interval_s)


def draw(loop: RenderLoop | None, is_stopped: Callable[[], bool]) -> bool:
    """Draw until `is_stopped`, or until a person closes the window; then False.

    True if nothing is drawn and the caller has to wait by itself: there is no face, or it was lost, which is logged.
    """
    if loop is None:
        return True
    try:
        loop.run(is_stopped)
    except ScreenError as error:
        logger.error("the face is lost, the sound goes on: %s", error)
        return True
    return False
