"""A device embedded in an application that has its own transport: configured sound and face, without a relay.

def main() -> None:
    run_player(application, EdgeConfig(), audio_format=AudioFormat(Codec.PCM_S16LE, 16_000), motion_format=...)

async def application(player: Player) -> None:
    conversation_id = await player.yield_audio_data(pcm)
    await player.yield_frames_data(motion_payloads, conversation_id)
    await player.yield_audio_data(b"", end=True)

Threads. `run_player` blocks the main thread. The face is drawn in a separate process; a renderer passed to `run_player` draws on the main
thread, as SDL and GL require. The application's coroutine, the player and the player's callbacks share an asyncio event loop on a second
thread, named `player`; the player's methods must be called on that loop. Sound has its own thread or process.

Shutdown. The run ends when the coroutine returns or raises, when the window is closed, or at Ctrl-C (SIGINT, unless the application handles
it itself). In the last two cases the coroutine is cancelled and has `LEAVE_S` to clean up. Media not yet heard is dropped; to have it
heard, wait for `on_finished` of `PlayerCallbacks`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from avatar_relay.errors import ConfigError
from avatar_relay.loop_thread import LoopThread
from avatar_relay.media import AudioFormat, MotionFormat, Pacing
from avatar_relay.messages import Volume
from edge_client import assembly
from edge_client.audio.sink import AudioSink
from edge_client.audio.sound import start_sound
from edge_client.config import EdgeConfig
from edge_client.errors import EdgeError, ScreenError
from edge_client.face.renderer import Wish
from edge_client.face_process.factory import RendererFactory
from edge_client.face_process.host import FaceProcess
from edge_client.inputs import flame_map_of
from edge_client.player import Player, PlayerCallbacks
from edge_client.state import StateFile
from edge_client.thread_watch import ThreadWatch
from edge_client.volume import StoredVolume

if TYPE_CHECKING:
    from edge_client.face.overlays import DeviceStatus
    from edge_client.face.pictures import PictureObserver
    from edge_client.face.render_loop import RenderLoop

logger = logging.getLogger(__name__)

T = TypeVar("T")

NAME = "embedded"
LEAVE_S = 4.0
"""Grace period for a cancelled application to end."""
INTERRUPT_S = 0.1
"""Interval at which Ctrl-C is checked when no face is drawn."""


def run_player(
    application: Callable[[Player], Coroutine[Any, Any, T]],
    config: EdgeConfig,
    *,
    audio_format: AudioFormat,
    motion_format: MotionFormat | None = None,
    pacing: Pacing = Pacing.BURST,
    callbacks: PlayerCallbacks | None = None,
    open_renderer: RendererFactory | None = None,
    volume_file: Path | None = None,
    observers: Sequence[PictureObserver] = (),
) -> T | None:
    """Open sound and face, run `application` with a player for them, and return its result; None if the window was closed.

    Call it on the main thread. Only the settings of sound, face and mouth are used; `volume` is the player's initial gain. With a
    `volume_file`, the volume set by the application is stored there and is the initial gain of the next run. The configured face is drawn
    by a separate process, which is retried if it cannot draw. `open_renderer` replaces it with a custom renderer that draws here, on the
    main thread. `observers` are notified of each picture, without its pixels.

    Raises what `application` raises; `SinkError` if the sound cannot be opened; what `open_renderer` raises; `EdgeError` if a thread of the
    program ended with an error; `ConfigError` for the setting `record`, which needs a relay; `KeyboardInterrupt`; `RuntimeError` if not
    called on the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run_player draws: call it on the main thread")
    if config.record is not None:
        raise ConfigError("record: only edge-client records; leave it out here")
    stop = threading.Event()
    watch = ThreadWatch(stop.set)
    with ExitStack() as stack:
        interrupt = stack.enter_context(_Interrupt())
        stack.callback(watch.end)
        watch.begin()
        flame_map = flame_map_of(config)
        drawn = open_renderer is not None or config.renderer != "none"
        sink, playback = start_sound(config, lambda sink: assembly.make_playback(config, sink, flame_map, drawn=drawn), None)
        stack.callback(sink.close)
        answers = assembly.make_answers(config, playback, status=lambda: _status(config, sink), observers=observers)
        loop = face = None
        if open_renderer is not None:
            renderer = open_renderer(config)
            stack.callback(renderer.close)
            loop = assembly.make_render_loop(config, answers, renderer, name=NAME)
        elif config.renderer != "none":
            face = FaceProcess(config, answers, name=NAME, is_watched=bool(observers), on_closed=stop.set)
            stack.callback(face.close)
            face.start()
        assembly.wait_for_parts(sink, face, lambda: interrupt.came)
        stored = StoredVolume(None if volume_file is None else StateFile(volume_file))
        stack.callback(stored.close)
        player = Player(playback, audio_format=audio_format, motion_format=motion_format, pacing=pacing, callbacks=callbacks)
        begin = stored.volume if stored.is_set else Volume(config.volume)
        player.set_volume(begin.gain, muted=begin.muted)
        player.on_volume = stored.set
        thread = LoopThread("player")
        stack.callback(thread.close, LEAVE_S)
        thread.start()
        future = thread.submit(lambda: _live(application, player))
        future.add_done_callback(lambda _: stop.set())
        with assembly.smooth_running():
            if not _draw(loop, lambda: stop.is_set() or interrupt.came):
                while not interrupt.came and not stop.wait(INTERRUPT_S):
                    pass
        if interrupt.came:
            raise KeyboardInterrupt
        if watch.died:
            raise EdgeError("a thread ended unexpectedly; the log has its error")
        return future.result() if future.done() and not future.cancelled() else None


class _Interrupt:
    """While entered, only records the first SIGINT: an exception raised inside SDL, GL or a finalizer could get lost.

    The second SIGINT raises `KeyboardInterrupt` at once. A handler set by the application is left in place.
    """

    def __init__(self) -> None:
        self.came = False
        self._earlier = signal.getsignal(signal.SIGINT)

    def __enter__(self) -> Self:
        if self._earlier is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._earlier is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._earlier)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True  # nothing more: the interrupted code may hold any lock needed here


def _draw(loop: RenderLoop | None, is_stopped: Callable[[], bool]) -> bool:
    """Draw until the end. Returns False if there is nothing to draw or the renderer fails.

    A failure is logged, and the application continues.
    """
    if loop is None:
        return False
    try:
        return loop.run(is_stopped) is not Wish.LOST
    except ScreenError as error:
        logger.error("the face is lost, the sound continues: %s", error)
        return False


async def _live(application: Callable[[Player], Coroutine[Any, Any, T]], player: Player) -> T:
    """Run the application while the player plays; the first of the two to fail ends both."""
    playing = asyncio.create_task(player.run(), name="player")
    running = asyncio.create_task(application(player), name="application")
    try:
        await asyncio.wait((playing, running), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await playing  # never returns: it has failed
        return await running
    finally:
        for task in (running, playing):
            task.cancel()
        await asyncio.gather(running, playing, return_exceptions=True)


def _status(config: EdgeConfig, sink: AudioSink) -> DeviceStatus:
    """The status for the overlays: without a relay, no link can be down."""
    from edge_client.face.overlays import DeviceStatus

    return DeviceStatus(
        attached=True,
        link="none, the application's own",
        was_attached=True,
        soundless=assembly.why_soundless(sink),
        sound=sink.name,
        underruns=sink.counters().underruns,
        version=version("avatar-relay"),
    )
