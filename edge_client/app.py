"""Composition root of the edge client: the only place that reads clocks and the environment, and that starts threads.

Threads. The main thread waits for the end. `link` runs the event loop: gRPC, decoding, the player's ticks. `face` answers the process that
draws. The sink has its own thread. They share immutable snapshots, and the player, which does its own locking.

Shutdown, in this order: the link says goodbye, the face process ends, the sink plays out, the recording is written (encoding takes seconds,
and nothing plays then that it could delay), and the last spans are exported.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from avatar_relay.device_state import Identify, Part, Restart, Update
from avatar_relay.service_manager import Heart, ServiceManager
from avatar_relay.tracing import start_telemetry
from edge_client.assembly import make_answers, make_playback, monotonic_us, smooth_running, wait_for_parts, why_soundless
from edge_client.audio.sink import AudioSink
from edge_client.audio.sinks.wav import WavTap
from edge_client.audio.sound import start_sound
from edge_client.config import EdgeConfig, device_name
from edge_client.errors import EdgeError
from edge_client.face.answers import FaceAnswers
from edge_client.face_process.host import FaceProcess
from edge_client.inputs import credentials_of, flame_map_of, open_tap
from edge_client.link.attach_call import Endpoint
from edge_client.link.credentials import CredentialFiles
from edge_client.link.device_link import DeviceLink, DeviceProfile, LinkClocks, LinkStatus
from edge_client.link.link_thread import LinkThread
from edge_client.link.player_port import PlayerPort
from edge_client.link.relay_choice import RelayChoice
from edge_client.link.relay_finder import SEARCHING, SearchClock
from edge_client.lip_sync.watch import SkewWatch
from edge_client.motion.avatarkit import FlameMap
from edge_client.observer import NULL
from edge_client.parts import PartsReporter, in_words, sound_part
from edge_client.playback.engine import PlaybackEngine
from edge_client.state import state_folder
from edge_client.stored_settings import StoredSettings, desk_settings_file
from edge_client.telemetry import EdgeTelemetry, RelayClock
from edge_client.thread_watch import ThreadWatch
from edge_client.update_trigger import ask_for_update
from edge_client.volume import StoredVolume, settings_file

if TYPE_CHECKING:
    from edge_client.face.overlays import DeviceStatus
    from edge_client.face.pictures import PictureObserver
    from edge_client.face_process.messages import Watcher
    from edge_client.recording.recorder import Recorder
    from edge_client.recording.report import RunFigures

logger = logging.getLogger(__name__)

LINGER_S = 1.5
"""Delay after the last requested conversation: acknowledgements arrive, and the face comes to rest in the film."""
BEAT_S = 0.5
IDENTIFY_US = 10_000_000
"""How long a device identifies itself."""
MAIN_PART, LINK_PART = "main", "link"
"""The threads that feed systemd's watchdog."""
UNKNOWN_ERROR_US = 86_400_000_000
"""The error bound of the relay's time before its first pong: a day."""


def unix_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000


CLOCKS = LinkClocks(monotonic_us, unix_us)


@dataclass(slots=True)
class _Countdown:
    """Requests a stop shortly after a number of conversations are over; never if `left` starts at 0."""

    left: int
    stop: threading.Event

    def finished(self) -> None:
        """Count one finished conversation."""
        self.left -= 1
        if self.left == 0:
            timer = threading.Timer(LINGER_S, self.stop.set)
            timer.daemon = True
            timer.start()


class App:
    """One run of the client, on the main thread. `observers` are notified of the pictures, as are `watchers` in the face process."""

    def __init__(self, config: EdgeConfig, observers: Sequence[PictureObserver] = (), watchers: Sequence[Watcher] = ()) -> None:
        self._config = config
        self._observers = tuple(observers)
        self._watchers = tuple(watchers)
        self._stop = threading.Event()
        clock = SearchClock(monotonic_us, self._stop.wait)
        folder = self._folder = state_folder(os.environ, Path.home)
        self._relay = RelayChoice(config, device_name("", platform.node()), folder, clock, os.urandom)
        self._device_id = self._relay.device_id
        self._settings: StoredSettings | None = None
        if folder is not None:
            self._settings = StoredSettings(desk_settings_file(folder, self._device_id), config)
            self._config = self._settings.config
        self._identify_until_us = 0
        self.begins_anew = False
        """True if it was stopped in order to be restarted."""
        self._version = importlib.metadata.version("avatar-relay")
        self._watch = ThreadWatch(self._stop.set)
        self._countdown = _Countdown(config.exit_after_finished, self._stop)
        self._endpoint = Endpoint("")
        """The relay; an empty address until one is found."""
        self._thread: LinkThread | None = None
        self._face: FaceProcess | None = None
        self._manager = ServiceManager(os.environ)
        self._heart = Heart(self._manager, (MAIN_PART, LINK_PART), monotonic_us)
        self._tracer: EdgeTelemetry | None = None
        self._skew = SkewWatch(on_heard=self._on_skew, on_alarm=self._on_skew_alarm)

    def run(self) -> int:
        """Attach, play and draw until stopped; returns the program's exit status. Raises `EdgeError` and `OSError`."""
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        self._watch.begin()
        telemetry = start_telemetry("edge-client", self._device_id, self._version, os.environ)
        tracer = self._tracer = EdgeTelemetry(telemetry, self._device_id, self._relay_clock) if telemetry.enabled else None
        try:
            return self._play(tracer, open_tap(self._config))
        finally:
            if tracer is not None:
                tracer.end_all(monotonic_us())
            telemetry.shutdown()
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _play(self, tracer: EdgeTelemetry | None, tap: WavTap | None) -> int:
        """Run the client. The exit stack closes in the order of shutdown: link, face, sink, recording of the sound."""
        with ExitStack() as stack:
            if tap is not None:
                stack.callback(tap.close)
            credentials, flame_map = credentials_of(self._config), flame_map_of(self._config)
            if tracer is not None:
                tracer.watch_certificate(credentials, time.time)
            sink, playback = start_sound(self._config, lambda sink: self._make_playback(sink, flame_map, tracer), tap)
            stack.callback(sink.close)
            if tap is not None:
                tap.rate_hz = sink.rate_hz
            if tracer is not None:
                tracer.watch_sound(sink)
            recorder = self._make_recorder()
            answers = self._make_answers(playback, sink, tracer)
            face = self._face = self._make_face(answers, recorder)
            if face is not None:
                if tracer is not None:
                    tracer.watch_face(face)
                stack.callback(face.close)
                face.start()
            volume = self._stored_volume()
            stack.callback(volume.close)
            if self._settings is not None:
                stack.callback(self._settings.close)
            parts = PartsReporter(lambda: self._parts(sink))
            player = PlayerPort(playback, loudest=self._config.volume, volume=volume, settings=self._settings, parts=parts, act=self._act)
            thread = self._thread = LinkThread(
                make_link=lambda on_handled: self._make_link(player, sink, on_handled),
                playback=player,
                on_tick=lambda: self._heart.beat(LINK_PART),
                clocks=CLOCKS,
                on_finished=self._countdown.finished,
                on_end=self._stop.set,
            )
            stack.callback(thread.stop)
            self._manager.tell("READY=1")
            with smooth_running():
                wait_for_parts(sink, face, self._is_stopped)
                self._start_link(thread, credentials)
                while not self._stop.wait(BEAT_S):
                    self._heart.beat(MAIN_PART)
                    self._manager.tell_status(in_words(self._parts(sink)))
                    if not thread.started:
                        self._heart.beat(LINK_PART)
        if recorder is not None and self._config.record is not None:
            recorder.write(self._config.record, self._figures(recorder, playback, sink, face, answers))
        return self._status(thread)

    def _make_playback(self, sink: AudioSink, flame_map: FlameMap | None, tracer: EdgeTelemetry | None) -> PlaybackEngine:
        return make_playback(self._config, sink, flame_map, tracer or NULL, drawn=self._config.renderer != "none")

    def _parts(self, sink: AudioSink) -> tuple[Part, ...]:
        """The state of each part. Called on the link's thread and on the main one."""
        face = () if self._face is None else (self._face.status().part(),)
        return (sound_part(sink.name, sink.counters()), *face)

    def _stored_volume(self) -> StoredVolume:
        """The volume set in an earlier run."""
        if self._folder is None:
            logger.warning("no state folder: set XDG_STATE_HOME; the volume is lost at the next start")
            return StoredVolume()
        return StoredVolume(settings_file(self._folder, self._device_id))

    def _act(self, action: Restart | Identify | Update) -> None:
        """Perform an operator's request; called on the link's thread."""
        if isinstance(action, Restart):
            self._begin_anew("as an operator asks")
        elif isinstance(action, Update):
            ask_for_update(self._folder, self._config.update_index)
        else:
            logger.warning("this device is %s (identify, by an operator)", self._device_id)
            self._identify_until_us = monotonic_us() + IDENTIFY_US

    def _begin_anew(self, why: str) -> None:
        logger.warning("restarting, %s", why)
        self.begins_anew = True
        self._stop.set()

    def _start_link(self, thread: LinkThread, credentials: CredentialFiles) -> None:
        """Attach to the configured relay, or to a discovered one as soon as it is found."""

        def find() -> None:
            if (found := self._relay.endpoint(credentials)) is not None:
                if self._relay.device_id != self._device_id:
                    self._begin_anew(f"because this device is now {self._relay.device_id}")
                    return
                self._endpoint = found
                thread.start()

        threading.Thread(target=find, name="relay finder", daemon=True).start()

    def _make_link(self, player: PlayerPort, sink: AudioSink, on_handled: Callable[[], None]) -> DeviceLink:
        return DeviceLink(
            endpoint=self._endpoint,
            profile=DeviceProfile(self._device_id, f"edge-client {self._version}", sink.rate_hz),
            player=player,
            clocks=CLOCKS,
            uniform=random.random,
            on_handled=on_handled,
        )

    def _make_recorder(self) -> Recorder | None:
        if self._config.record is None:
            return None
        from edge_client.recording.recorder import Recorder  # imports Pillow, which is needed only for recording

        return Recorder(self._skew.meter)

    # --- the face --------------------------------------------------------------------------------------------------

    def _make_answers(self, playback: PlaybackEngine, sink: AudioSink, tracer: EdgeTelemetry | None) -> FaceAnswers:
        """Create the `FaceAnswers`, with all observers of its pictures."""
        observers = [*self._observers, self._skew, *([tracer] if tracer is not None else [])]
        return make_answers(self._config, playback, status=lambda: self._device_status(sink), observers=observers)

    def _make_face(self, answers: FaceAnswers, recorder: Recorder | None) -> FaceProcess | None:
        if self._config.renderer == "none":
            logger.info("no face is drawn, as configured")
            return None
        return FaceProcess(
            self._config,
            answers,
            name=self._device_id,
            watchers=self._watchers,
            film=recorder.film_memory if recorder is not None else None,
            is_watched=bool(self._observers) or self._tracer is not None,
            on_closed=self._stop.set,
        )

    def _is_stopped(self) -> bool:
        """Checked while the parts start."""
        self._heart.beat(MAIN_PART)
        self._heart.beat(LINK_PART)
        return self._stop.is_set()

    def _device_status(self, sink: AudioSink) -> DeviceStatus:
        """The status for the overlays; called on the thread that answers the face."""
        from edge_client.face.overlays import DeviceStatus

        link = self._thread.status if self._thread is not None and self._thread.started else LinkStatus(text=SEARCHING)
        return DeviceStatus(
            attached=link.attached,
            relay=self._endpoint.address,
            link=link.text,
            pairing=self._relay.shown,
            identify=self._device_id if monotonic_us() < self._identify_until_us else "",
            was_attached=link.streams > 0,
            soundless=why_soundless(sink),
            sound=sink.name,
            underruns=sink.counters().underruns,
            face=str(self._face.status()) if self._face is not None else "",
            version=self._version,
        )

    def _on_skew(self, skew_us: int) -> None:
        if self._tracer is not None:
            self._tracer.skew_heard(skew_us)

    def _on_skew_alarm(self, conversation_id: str, time_us: int, skew_us: int) -> None:
        early = "early" if skew_us > 0 else "late"
        logger.warning("lip-sync error: the sound is %s by %.0f ms in conversation %s", early, abs(skew_us) / 1e3, conversation_id)
        if self._tracer is not None:
            self._tracer.skew_alarm(conversation_id, time_us, skew_us)

    # --- surroundings -----------------------------------------------------------------------------------------------

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop in order at the first signal, at once at the second."""
        if self._stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._manager.tell("STOPPING=1")
        self._stop.set()

    def _relay_clock(self, time_us: int) -> RelayClock:
        """The relay's time as estimated from its pongs; before the first one the local time, with a correspondingly wide error bound."""
        known = self._thread.relay_time if self._thread is not None else None
        if known is None:
            return RelayClock(unix_us() - monotonic_us(), UNKNOWN_ERROR_US)
        return RelayClock(known.unix_offset_us(time_us), round(known.estimate.error_us))

    def _figures(
        self, recorder: Recorder, playback: PlaybackEngine, sink: AudioSink, face: FaceProcess | None, answers: FaceAnswers
    ) -> RunFigures:
        from edge_client.recording.report import RunFigures

        return RunFigures(
            playback=playback.summary(),
            sink=sink.counters(),
            sink_name=sink.name,
            renderer_name=face.renderer_name if face is not None else "none",
            stage=answers.summary() if face is not None else None,
            skew=recorder.skew,
            unix_offset_us=unix_us() - monotonic_us(),
        )

    def _status(self, thread: LinkThread) -> int:
        if thread.crashed or self._watch.died:
            return 1
        if thread.end is not None and not thread.end.stopped:
            logger.error("the relay refused this device: %s", thread.end.describe())
            return 1
        return 0


def run(config: EdgeConfig) -> int:
    """Run the client; returns the exit status. A failure is logged in one line. Raises `ConfigError` if it cannot start."""
    try:
        app = App(config)
        status = app.run()
        if app.begins_anew and status == 0:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return status
    except (EdgeError, OSError) as error:
        logger.error("%s", error)
        return 1
