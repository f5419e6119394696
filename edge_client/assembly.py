"""Builds the parts of a device from its settings; shared by `app` (plays for a relay) and `embedded` (plays for an application)."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge_client.audio.decoders import load_decoders, make_decoder
from edge_client.audio.sink import AudioSink
from edge_client.choices import read_hours
from edge_client.config import EdgeConfig
from edge_client.face.answers import FaceAnswers
from edge_client.face.overlays import FaceOverlays
from edge_client.face.sleeping import ScreenSleep
from edge_client.local_clock import minute_of_day
from edge_client.motion.avatarkit import FlameMap
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.mouth_source import MouthSource
from edge_client.observer import NULL, PlaybackObserver
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import PlaybackConfig
from edge_client.playback.playing import DecoderFactories

if TYPE_CHECKING:
    from edge_client.face.overlays import DeviceStatus
    from edge_client.face.pictures import PictureObserver
    from edge_client.face.render_loop import RenderLoop
    from edge_client.face.renderer import Renderer
    from edge_client.face_process.host import FaceProcess

logger = logging.getLogger(__name__)

FIRST_WORD_S = 5.0
"""A card or a screen that hangs delays the link to the relay, or the start of the application, by at most this long."""
LOOK_S = 0.02
TURN_S = 0.0005
"""How long a thread may hold the interpreter while others wait. With Python's default of 5 ms, a busy thread delays sound and network."""


def monotonic_us() -> int:
    """The clock of all times in this program."""
    return time.monotonic_ns() // 1_000


def make_playback(
    config: EdgeConfig, sink: AudioSink, flame_map: FlameMap | None, observer: PlaybackObserver = NULL, *, drawn: bool
) -> PlaybackEngine:
    """A playback engine for `sink`. Without a `flame_map`, AvatarKit's motion is read with the built-in one.

    Unless a face is `drawn`, sound is not analysed for mouth and gestures.
    """
    playback_config = PlaybackConfig(
        frame_starvation=config.frame_starvation,
        mouth_source=config.mouth_source if drawn else MouthSource.PAYLOAD,
        gestures=config.idle_life and drawn,
        output_offset_us=round(config.output_offset_ms * 1_000),
    )
    decoders = DecoderFactories(make_decoder, partial(make_motion_decoder, flame_map=flame_map))
    return PlaybackEngine(sink=sink, decoders=decoders, config=playback_config, observer=observer)


def wait_for_parts(sink: AudioSink, face: FaceProcess | None, should_stop: Callable[[], bool]) -> None:
    """Wait, at most `FIRST_WORD_S`, until sink and face are ready or have failed; otherwise the first word would be late.

    `should_stop` is polled every `LOOK_S`. Decoders are loaded meanwhile.
    """
    load_decoders()
    until_us = monotonic_us() + round(FIRST_WORD_S * 1e6)
    while not should_stop() and monotonic_us() < until_us:
        counters = sink.counters()
        has_sound = sink.anchor() is not None or counters.lost or counters.unheard
        if has_sound and (face is None or face.was_tried.is_set()):
            return
        time.sleep(LOOK_S)


def why_soundless(sink: AudioSink) -> str:
    """Why there is no sound, in words for the user; empty while sound is heard, or if none is wanted."""
    counters = sink.counters()
    if counters.unheard:
        return f"No sound device was found: the face speaks without sound. {counters.unheard}"
    return counters.lost


def make_answers(
    config: EdgeConfig, playback: PlaybackEngine, *, status: Callable[[], DeviceStatus], observers: Sequence[PictureObserver] = ()
) -> FaceAnswers:
    """The object that answers the questions of a face for `playback`."""
    hours = read_hours(config.sleep_hours)
    sleep = ScreenSleep(round(config.sleep_after_s * 1e6), hours)

    def sleeps(is_busy: bool, now_us: int) -> bool:
        return config.may_sleep and sleep.sleeps(is_busy=is_busy, now_us=now_us, minute=minute_of_day() if hours else None)

    overlays = FaceOverlays(status, figures=config.figures, sleeps=sleeps)
    return FaceAnswers(playback, overlays=overlays, observers=[overlays, *observers])


def make_render_loop(config: EdgeConfig, answers: FaceAnswers, renderer: Renderer, *, name: str) -> RenderLoop:
    """A loop that draws in this process, warmed up. `name` seeds the idle motion."""
    from edge_client.face.attention import Attention
    from edge_client.face.idle import make_life
    from edge_client.face.render_loop import RenderLoop

    loop = RenderLoop(
        source=answers,
        renderer=renderer,
        life=make_life(name, idle_life=config.idle_life),
        clock_us=monotonic_us,
        sleep_s=time.sleep,
        attention=Attention() if config.idle_life else None,
        pictures_per_second=config.pictures_per_second,
        stamped=config.stamp,
    )
    loop.warm_up(is_read=False)
    return loop


@contextmanager
def smooth_running() -> Iterator[None]:
    """While entered, threads switch quickly, and the garbage collector skips objects created during start-up."""
    interval_s = sys.getswitchinterval()
    gc.collect()
    sys.setswitchinterval(TURN_S)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # otherwise soxr complains at exit about resamplers that are never freed
        sys.setswitchinterval(interval_s)
