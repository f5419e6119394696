"""The edge client put together: the only place that reads clocks and the environment, and that starts threads.

Threads. The main one owns SDL and GL and draws. `link` runs the event loop: gRPC, decoding, the player's ticks. The sink has
its own. Between them are immutable snapshots, and the player, which guards itself.

The end, in this order: the link says goodbye, the face goes, the sink plays out, then the recording is written (encoding
takes seconds, and nobody waits for it while something plays), then the last spans are exported.
"""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import os
import platform
import random
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from avatar_relay.service_manager import Heart, ServiceManager
from avatar_relay.tracing import start_telemetry
from edge_client.audio.decoders import make_decoder
from edge_client.audio.sink import AudioSink
from edge_client.audio.sinks.virtual import VirtualSink
from edge_client.audio.sinks.wav import WavTap
from edge_client.audio.sound import sinks_to_try, start_sound
from edge_client.config import EdgeConfig, device_name
from edge_client.errors import EdgeError, ScreenError
from edge_client.face.renderer import Renderer
from edge_client.inputs import endpoint_of, flame_map_of, open_tap
from edge_client.link.attach_call import Endpoint
from edge_client.link.device_link import DeviceLink, DeviceProfile, LinkClocks, LinkStatus
from edge_client.link.link_thread import LinkThread
from edge_client.link.player_port import PlayerPort
from edge_client.lip_sync.watch import SkewWatch
from edge_client.motion.avatarkit import FlameMap
from edge_client.motion.decoders import make_motion_decoder
from edge_client.observer import NULL, PlaybackObserver
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import PlaybackConfig
from edge_client.playback.playing import DecoderFactories
from edge_client.telemetry import EdgeTelemetry, RelayClock
from edge_client.thread_watch import ThreadWatch

if TYPE_CHECKING:
    from edge_client.face.overlays import DeviceStatus
    from edge_client.face.render_loop import PictureObserver, RenderLoop
    from edge_client.recording.recorder import Recorder
    from edge_client.recording.report import RunFigures

logger = logging.getLogger(__name__)

LINGER_S = 1.5
"""After the last conversation asked for: acknowledgements arrive, and the face comes to rest on the film."""
MAIN_PART, LINK_PART = "main", "link"
"""The threads that systemd's watchdog is told of."""
TURN_S = 0.0005
"""How long a thread may hold the interpreter while others wait; with Python's 5 ms one that computes keeps sound and network waiting."""
UNKNOWN_ERROR_US = 86_400_000_000
"""The error bound of the relay's time before its first pong: a day."""


def monotonic_us() -> int:
    """The clock of all of this program's times."""
    return time.monotonic_ns() // 1_000


def unix_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000


CLOCKS = LinkClocks(monotonic_us, unix_us)


@dataclass(slots=True)
class _Countdown:
    """Asks to stop a little after so many conversations are over; never where `left` begins at 0."""

    left: int
    stop: threading.Event

    def finished(self) -> None:
        """One more is over."""
        self.left -= 1
        if self.left == 0:
            timer = threading.Timer(LINGER_S, self.stop.set)
            timer.daemon = True
            timer.start()


class App:
    """One run of the client, on the main thread. `observers` are shown the pictures, too."""

    def __init__(self, config: EdgeConfig, observers: Sequence[PictureObserver] = ()) -> None:
        self._config = config
        self._observers = tuple(observers)
        self._device_id = device_name(config.device_id, platform.node())
        self._version = importlib.metadata.version("avatar-relay")
        self._stop = threading.Event()
        self._watch = ThreadWatch(self._stop.set)
        self._countdown = _Countdown(config.exit_after_finished, self._stop)
        self._thread: LinkThread | None = None
        self._manager = ServiceManager(os.environ)
        self._heart = Heart(self._manager, (MAIN_PART, LINK_PART), monotonic_us)
        self._tracer: EdgeTelemetry | None = None
        self._skew = SkewWatch(on_heard=self._on_skew, on_alarm=self._on_skew_alarm)

    def run(self) -> int:
        """Attach, play and draw until told to stop; returns the program's exit status. Raises `EdgeError` and `OSError`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._watch.begin()
        telemetry = start_telemetry("edge-client", self._device_id, self._version, os.environ)
        tracer = self._tracer = EdgeTelemetry(telemetry, self._device_id, self._relay_clock) if telemetry.enabled else None
        try:
            return self._play(tracer, open_tap(self._config))
        finally:
            telemetry.shutdown()

    def _play(self, tracer: EdgeTelemetry | None, tap: WavTap | None) -> int:
        """What the stack closes, it closes in the order of the end: link, face, sink, recording of the sound."""
        with ExitStack() as stack:
            if tap is not None:
                stack.callback(tap.close)
            endpoint, flame_map = endpoint_of(self._config), flame_map_of(self._config)
            self._prepare_renderer()
            sink, playback = start_sound(self._config, lambda sink: self._make_playback(sink, flame_map, tracer or NULL), tap)
            stack.callback(sink.close)
            if tap is not None:
                tap.rate_hz = sink.rate_hz
            recorder = self._make_recorder()
            renderer = self._open_renderer()
            if renderer is not None:
                stack.callback(renderer.close)
            stage = self._make_stage(playback, sink, renderer, recorder, tracer) if renderer is not None else None
            thread = self._thread = LinkThread(
                make_link=lambda on_handled: self._make_link(endpoint, playback, sink, on_handled),
                playback=playback,
                on_tick=lambda: self._heart.beat(LINK_PART),
                clocks=CLOCKS,
                on_finished=self._countdown.finished,
                on_end=self._stop.set,
            )
            stack.callback(thread.stop)
            thread.start()  # only now: the first word finds a face
            self._manager.tell("READY=1")
            try:
                self._show(stage)
            finally:
                gc.unfreeze()  # else soxr complains at exit of resamplers that are never freed
        if recorder is not None and self._config.record is not None:
            recorder.write(self._config.record, self._figures(recorder, playback, sink, renderer, stage))
        return self._status(thread)

    def _make_playback(self, sink: AudioSink, flame_map: FlameMap | None, observer: PlaybackObserver) -> PlaybackEngine:
        config = PlaybackConfig(
            frame_starvation=self._config.frame_starvation,
            mouth_source=self._config.mouth_source,
            output_offset_us=round(self._config.output_offset_ms * 1_000),
        )
        decoders = DecoderFactories(make_decoder, partial(make_motion_decoder, flame_map=flame_map))
        return PlaybackEngine(sink=sink, decoders=decoders, config=config, observer=observer)

    def _make_link(self, endpoint: Endpoint, playback: PlaybackEngine, sink: AudioSink, on_handled: Callable[[], None]) -> DeviceLink:
        return DeviceLink(
            endpoint=endpoint,
            profile=DeviceProfile(self._device_id, f"edge-client {self._version}", sink.rate_hz),
            player=PlayerPort(playback, loudest=self._config.volume),
            clocks=CLOCKS,
            uniform=random.random,
            on_handled=on_handled,
        )

    def _make_recorder(self) -> Recorder | None:
        if self._config.record is None:
            return None
        from edge_client.recording.recorder import Recorder  # Pillow: only where something is recorded

        return Recorder(self._skew.meter)

    # --- the face --------------------------------------------------------------------------------------------------

    def _make_stage(
        self, playback: PlaybackEngine, sink: AudioSink, renderer: Renderer, recorder: Recorder | None, tracer: EdgeTelemetry | None
    ) -> RenderLoop:
        """The loop, warmed up."""
        from edge_client.face.attention import Attention
        from edge_client.face.idle import IdleLife, StillLife
        from edge_client.face.overlays import FaceOverlays
        from edge_client.face.render_loop import RenderLoop

        overlays = FaceOverlays(lambda: self._device_status(sink), figures=self._config.figures)
        own = (self._skew, overlays, recorder, tracer)
        stage = RenderLoop(
            playback=playback,
            renderer=renderer,
            life=IdleLife(zlib.crc32(self._device_id.encode())) if self._config.idle_life else StillLife(),
            clock_us=monotonic_us,
            sleep_s=time.sleep,
            observers=[*self._observers, *(observer for observer in own if observer)],
            overlays=overlays,
            attention=Attention() if self._config.idle_life else None,
            pictures_per_second=self._config.pictures_per_second,
            stamped=self._config.stamp,
        )
        stage.warm_up(is_read=recorder is not None)
        return stage

    def _device_status(self, sink: AudioSink) -> DeviceStatus:
        """For the overlays; asked on the main thread."""
        from edge_client.face.overlays import DeviceStatus

        link = self._thread.status if self._thread is not None else LinkStatus()
        unwanted = isinstance(sink, VirtualSink) and "pyaudio" in sinks_to_try(self._config)
        counters = sink.counters()
        return DeviceStatus(
            attached=link.attached,
            relay=self._config.relay,
            link=link.text,
            was_attached=link.streams > 0,
            soundless="No sound device was found: the face speaks, and nothing is heard." if unwanted else counters.lost,
            underruns=counters.underruns,
            version=self._version,
        )

    def _show(self, stage: RenderLoop | None) -> None:
        """Draw until told to stop; without a face just wait."""
        gc.collect()
        sys.setswitchinterval(TURN_S)
        gc.freeze()  # what start-up made stays: later collections need not walk it, and do not stutter the face
        if stage is not None:
            try:
                return stage.run(self._is_stopped)
            except ScreenError as error:
                logger.error("the face is lost, the sound goes on: %s", error)
        while not self._stop.wait(0.5):
            self._heart.beat(MAIN_PART)

    def _is_stopped(self) -> bool:
        """Asked before each picture."""
        self._heart.beat(MAIN_PART)
        return self._stop.is_set()

    def _prepare_renderer(self) -> None:
        """Begin what opening the renderer waits for, beside the start of the sound."""
        if self._config.renderer != "none":
            from edge_client.face.screens import prepare_renderer  # pygame: only where a face is drawn

            prepare_renderer(choice=self._config.renderer, headless=self._config.headless)

    def _open_renderer(self) -> Renderer | None:
        config, choice = self._config, self._config.renderer
        if choice == "none":
            logger.info("no face is drawn, as configured")
            return None
        from edge_client.face.screens import open_renderer  # pygame: only where a face is drawn

        try:
            return open_renderer(
                choice=choice, size=config.size, fullscreen=config.fullscreen, headless=config.headless, colours=config.colours
            )
        except ScreenError as error:
            if choice != "auto":
                raise
            logger.error("no face is drawn, the sound goes on: %s", error)
            return None

    def _on_skew(self, skew_us: int) -> None:
        if self._tracer is not None:
            self._tracer.skew_heard(skew_us)

    def _on_skew_alarm(self, conversation_id: str, time_us: int, skew_us: int) -> None:
        early = "early" if skew_us > 0 else "late"
        logger.warning("lip-sync is off: the sound is %s by %.0f ms in conversation %s", early, abs(skew_us) / 1e3, conversation_id)
        if self._tracer is not None:
            self._tracer.skew_alarm(conversation_id, time_us, skew_us)

    # --- around it -------------------------------------------------------------------------------------------------

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first one ends the program in order, the second one at once."""
        if self._stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._manager.tell("STOPPING=1")
        self._stop.set()

    def _relay_clock(self, time_us: int) -> RelayClock:
        """The relay's time as learned from its pongs; before the first one our own, with a bound that says so."""
        known = self._thread.relay_time if self._thread is not None else None
        if known is None:
            return RelayClock(unix_us() - monotonic_us(), UNKNOWN_ERROR_US)
        return RelayClock(known.unix_offset_us(time_us), round(known.estimate.error_us))

    def _figures(
        self, recorder: Recorder, playback: PlaybackEngine, sink: AudioSink, renderer: Renderer | None, stage: RenderLoop | None
    ) -> RunFigures:
        from edge_client.recording.report import RunFigures

        return RunFigures(
            playback=playback.summary(),
            sink=sink.counters(),
            sink_name=sink.name,
            renderer_name=renderer.name if renderer is not None else "none",
            stage=stage.summary() if stage is not None else None,
            skew=recorder.skew,
            unix_offset_us=unix_us() - monotonic_us(),
        )

    def _status(self, thread: LinkThread) -> int:
        if thread.crashed or self._watch.died:
            return 1
        if thread.end is not None and not thread.end.stopped:
            logger.error("the relay does not take this device: %s", thread.end.describe())
            return 1
        return 0


def run(config: EdgeConfig) -> int:
    """Run the client; returns the exit status. A failure is logged in one line. Raises `ConfigError` where it cannot start."""
    try:
        return App(config).run()
    except (EdgeError, OSError) as error:
        logger.error("%s", error)
        return 1
