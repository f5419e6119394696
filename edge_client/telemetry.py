"""The device's OpenTelemetry data: spans of each conversation from the wire to loudspeaker and screen, and metrics.

Each span is a direct child of the relay's (the context on `open`): a device that is switched off never ends an open span, and spans that it
exported before must not be left without a parent. Times are in the *relay's* time: a device may boot in 1970, so each reading of the local
monotonic clock is converted by the clock probe, and the span records offset and error.

    device.receive        CONSUMER  from `open` to the last payload
    device.decode         INTERNAL  from the first payload decoded to the last
    device.buffer         INTERNAL  from the first payload to enough of them to begin
    device.first_sound    INTERNAL  from the first payload to the first sample heard
    device.first_picture  INTERNAL  from the first payload to the first picture of this conversation on the screen
    device.play           INTERNAL  from the first sample heard to finished
    device.payload        INTERNAL  one payload in `Telemetry.trace_every`, from its arrival to its decoding (off by default)
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from avatar_relay.client_credentials import Credentials
from avatar_relay.media import ConversationOpen, Kind, Payload
from avatar_relay.messages import Dropped, Finished
from avatar_relay.tracing import CLOCK_ERROR_US, CLOCK_OFFSET_US, CONVERSATION_ID, KIND, REASON, Stage, Telemetry, parent_from
from edge_client.audio.sink import AudioSink
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.face_process.host import FaceProcess
from edge_client.observer import PlaybackObserver
from edge_client.parts import sound_part

MAX_CONVERSATIONS = 256
"""Maximum number of conversations with open spans; beyond it, the oldest are ended."""
ABANDONED = "ABANDONED"
"""The device left, or had too many others, before the conversation was over."""


@dataclass(frozen=True, slots=True)
class RelayClock:
    """Converts the local monotonic clock (µs) to the relay's wall clock: add `offset_us`, which is right within `error_us`."""

    offset_us: int
    error_us: int


@dataclass(slots=True)
class _PlaybackTrail:
    """Trace state of one conversation. Times are monotonic µs."""

    receive: Stage
    context: Context
    last_received_us: int
    keyframes_per_second: float
    first_received_us: int | None = None
    first_decoded_us: int | None = None
    last_decoded_us: int = 0
    buffered: bool = False
    pictured: bool = False
    play: Stage | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, more: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + more


class EdgeTelemetry(PlaybackObserver, PictureObserver):
    """Traces and measures playback and pictures. Thread-safe."""

    def __init__(self, telemetry: Telemetry, device_id: str, relay_clock: Callable[[int], RelayClock]) -> None:
        """`relay_clock(time_us)` returns the relay's wall clock at a local monotonic time."""
        self._tracer = telemetry.tracer
        self._device_id = device_id
        self._relay_clock = relay_clock
        self._trace_every = telemetry.trace_every
        self._lock = threading.Lock()
        self._trails: OrderedDict[str, _PlaybackTrail] = OrderedDict()
        self._sampled: dict[tuple[str, Kind, int], int] = {}
        meter = self._meter = telemetry.meter
        self._received = meter.create_counter("avatar.device.received", "By", "Payload bytes received")
        self._dropped = meter.create_counter("avatar.device.dropped", "{payload}", "Payloads not used")
        self._finished = meter.create_counter("avatar.device.finished", "{conversation}", "Conversations finished")
        self._keyframes = meter.create_counter("avatar.device.keyframes", "{keyframe}", "Keyframes received")
        self._played = meter.create_counter("avatar.device.played", "s", "Sound heard")
        self._first_audio = meter.create_histogram("avatar.device.first_audio.duration", "s", "First payload to first sample heard")
        self._skew = meter.create_histogram(
            "avatar.skew", "s", "Distance of PTS heard and PTS shown, at each picture, by which one is early"
        )
        self._skew_heard = meter.create_histogram(
            "avatar.skew.heard", "s", "Distance of PTS heard and PTS on the screen, every 10 ms of sound, by which one is early"
        )
        self._skew_alarms = meter.create_counter("avatar.skew.alarms", "{excursion}", "Times that the skew was noticeable")
        self._pictures = meter.create_counter("avatar.pictures", "{picture}", "Pictures shown")
        self._underruns = meter.create_counter("avatar.underruns", "{underrun}", "Times the sound ran dry")

    def watch_sound(self, sink: AudioSink) -> None:
        """Start to report which sink plays, and how often it was lost."""

        def playing(_: CallbackOptions) -> Iterable[Observation]:
            part = sound_part(sink.name, sink.counters())
            yield Observation(1, {"avatar.state": part.state.value, "avatar.sink": part.what})

        def restarts(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(sink.counters().restarts)

        self._meter.create_observable_gauge("avatar.sound", [playing], "{sink}", "1, with the audio output and its state")
        self._meter.create_observable_counter("avatar.sound.restarts", [restarts], "{restart}", "Times the sound device was lost")

    def watch_certificate(self, credentials: Callable[[], Credentials], unix_s: Callable[[], float]) -> None:
        """Start to report how long the device's certificate is still valid; nothing without one."""

        def left(_: CallbackOptions) -> Iterable[Observation]:
            if (validity := credentials().validity) is not None:
                yield Observation(validity.not_after_s - int(unix_s()))

        self._meter.create_observable_gauge(
            "avatar.device.certificate.expires_in", [left], "s", "Until the device's own certificate expires"
        )

    def watch_face(self, face: FaceProcess) -> None:
        """Start to report which renderer draws, and how often it was restarted."""

        def drawing(_: CallbackOptions) -> Iterable[Observation]:
            status = face.status()
            yield Observation(1, {"avatar.state": status.state.value, "avatar.renderer": status.kind, "avatar.place": status.where})

        def restarts(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(face.status().restarts)

        def unanswered(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(face.status().unanswered)

        self._meter.create_observable_gauge("avatar.face", [drawing], "{face}", "1, with the renderer and its state")
        self._meter.create_observable_counter(
            "avatar.face.restarts", [restarts], "{restart}", "Times the face's process failed and was restarted"
        )
        self._meter.create_observable_counter("avatar.face.unanswered", [unanswered], "{picture}", "Pictures drawn without an answer")

    def opened(self, message: ConversationOpen, now_us: int) -> None:
        """Begin `device.receive`."""
        clock = self._relay_clock(now_us)
        attributes: dict[str, AttributeValue] = {
            CONVERSATION_ID: message.conversation_id,
            "avatar.device.id": self._device_id,
            CLOCK_OFFSET_US: clock.offset_us,
            CLOCK_ERROR_US: clock.error_us,
        }
        parent = parent_from(message.trace_context)
        receive = Stage(self._tracer, "device.receive", parent, now_us + clock.offset_us, kind=SpanKind.CONSUMER, attributes=attributes)
        with self._lock:
            rate = message.motion_format.keyframes_per_second if message.motion_format is not None else 0.0
            self._trails[message.conversation_id] = _PlaybackTrail(receive, parent, now_us, rate)
            if len(self._trails) > MAX_CONVERSATIONS:
                self._abandon(self._trails.popitem(last=False)[1], now_us)

    def received(self, conversation_id: str, payload: Payload, now_us: int) -> None:
        """Count a payload."""
        size = len(payload.data)
        self._received.add(size, {KIND: payload.kind.value})
        with self._lock:
            if trail := self._trails.get(conversation_id):
                trail.last_received_us = now_us
                if trail.first_received_us is None:
                    trail.first_received_us = now_us
                trail.count(f"avatar.{payload.kind.value}.payloads", 1)
                trail.count(f"avatar.{payload.kind.value}.bytes", size)
                if payload.kind is Kind.MOTION:
                    self._keyframes.add(round(payload.duration_us * trail.keyframes_per_second / 1e6))
                trail.receive.tick(self._unix(now_us))
                if self._trace_every and payload.seq % self._trace_every == 0:
                    self._sampled[conversation_id, payload.kind, payload.seq] = now_us

    def decoded(self, conversation_id: str, kind: Kind, seq: int, now_us: int) -> None:
        """Note the first and the last decoding."""
        with self._lock:
            if trail := self._trails.get(conversation_id):
                trail.first_decoded_us = now_us if trail.first_decoded_us is None else trail.first_decoded_us
                trail.last_decoded_us = now_us
                since_us = self._sampled.pop((conversation_id, kind, seq), None) if self._sampled else None
                if since_us is not None:
                    self._span(trail, "device.payload", since_us, now_us, {KIND: kind.value, "avatar.payload.seq": seq})

    def buffered(self, conversation_id: str, now_us: int) -> None:
        """End `device.buffer`, the first time."""
        with self._lock:
            trail = self._trails.get(conversation_id)
            if trail is not None and not trail.buffered and trail.first_received_us is not None:
                trail.buffered = True
                self._span(trail, "device.buffer", trail.first_received_us, now_us)

    def first_sample_heard(self, conversation_id: str, time_us: int) -> None:
        """End `device.first_sound`, begin `device.play`."""
        with self._lock:
            trail = self._trails.get(conversation_id)
            if trail is None or trail.first_received_us is None:
                return
            self._first_audio.record((time_us - trail.first_received_us) * 1e-6)
            self._span(trail, "device.first_sound", trail.first_received_us, time_us)
            trail.play = Stage(
                self._tracer, "device.play", trail.context, self._unix(time_us), attributes={CONVERSATION_ID: conversation_id}
            )

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Note a displayed picture; the first of a conversation ends `device.first_picture`."""
        conversation_id, time_us, skew_us = picture.view.conversation_id, picture.shown_time_us, picture.skew_us
        self._pictures.add(1)
        if skew_us is not None:
            _record_skew(self._skew, skew_us)
        if conversation_id is None or skew_us is None:
            return
        with self._lock:
            trail = self._trails.get(conversation_id)
            if trail is not None and not trail.pictured and trail.first_received_us is not None:
                trail.pictured = True
                self._span(trail, "device.first_picture", trail.first_received_us, time_us)
            if trail is not None and trail.play is not None:
                trail.play.tick(self._unix(time_us))

    def skew_heard(self, skew_us: int) -> None:
        """Record the skew of 10 ms of sound against the displayed picture."""
        _record_skew(self._skew_heard, skew_us)

    def skew_alarm(self, conversation_id: str, time_us: int, skew_us: int) -> None:
        """Count a skew that people will notice, from `time_us` on, and add it to the conversation's span."""
        self._skew_alarms.add(1)
        with self._lock:
            trail = self._trails.get(conversation_id)
            if trail is not None and trail.play is not None:
                trail.play.event("skew alarm", self._unix(time_us), {"avatar.skew_us": skew_us})

    def underrun(self, count: int, cause: str) -> None:
        """Count `count` more underruns with this cause: `starved` or `device_dry`."""
        self._underruns.add(count, {"avatar.cause": cause})

    def dropped(self, conversation_id: str, body: Dropped, now_us: int) -> None:
        """Count drops, and add them to the conversation's span."""
        self._dropped.add(body.payloads, {KIND: body.kind.value, REASON: body.reason})
        with self._lock:
            if trail := self._trails.get(conversation_id):
                attributes: dict[str, AttributeValue] = {KIND: body.kind.value, REASON: body.reason, "avatar.payloads": body.payloads}
                trail.receive.event("dropped", self._unix(now_us), attributes)

    def finished(self, conversation_id: str, body: Finished, now_us: int) -> None:
        """End all open spans of the conversation."""
        self._finished.add(1, {REASON: body.reason, "avatar.interrupted": body.interrupted})
        self._played.add(body.position_us * 1e-6)
        with self._lock:
            trail = self._trails.pop(conversation_id, None)
            self._sampled = {key: value for key, value in self._sampled.items() if key[0] != conversation_id}
            if trail is not None:
                self._end(trail, body, now_us)

    def end_all(self, now_us: int) -> None:
        """End all open spans, so that they are exported: otherwise their exported children would have no parent."""
        with self._lock:
            while self._trails:
                self._abandon(self._trails.popitem()[1], now_us)

    def _abandon(self, trail: _PlaybackTrail, now_us: int) -> None:
        if trail.first_decoded_us is not None:
            self._span(trail, "device.decode", trail.first_decoded_us, trail.last_decoded_us)
        if trail.play is not None:
            trail.play.end(self._unix(now_us), fault=ABANDONED)
        trail.receive.end(self._unix(trail.last_received_us), trail.counts, fault=ABANDONED)

    def _end(self, trail: _PlaybackTrail, body: Finished, now_us: int) -> None:
        attributes: dict[str, AttributeValue] = {
            REASON: body.reason,
            "avatar.interrupted": body.interrupted,
            "avatar.position_us": body.position_us,
        }
        if trail.first_decoded_us is not None:
            self._span(trail, "device.decode", trail.first_decoded_us, trail.last_decoded_us)
        if trail.play is not None:
            trail.play.event("finished", self._unix(now_us), attributes)
            trail.play.end(self._unix(now_us), attributes)
        trail.receive.end(self._unix(trail.last_received_us), {**trail.counts, **attributes})

    def _span(self, trail: _PlaybackTrail, name: str, start_us: int, end_us: int, attributes: dict[str, str | int] | None = None) -> None:
        Stage(self._tracer, name, trail.context, self._unix(start_us), attributes=attributes).end(self._unix(end_us))

    def _unix(self, time_us: int) -> int:
        return time_us + self._relay_clock(time_us).offset_us


def _record_skew(histogram: Histogram, skew_us: int) -> None:
    """Record an absolute value: histograms accept no negative ones."""
    histogram.record(abs(skew_us) * 1e-6, {"avatar.sound": "early" if skew_us > 0 else "late"})
