"""The device's telemetry of a conversation, in the relay's time."""

from __future__ import annotations

from dataclasses import replace

from avatar_relay.certificate_dates import Validity
from avatar_relay.client_credentials import Credentials
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Kind, MotionEncoding, MotionFormat, Payload, TraceContext
from avatar_relay.messages import Dropped, Finished
from edge_client.audio.sink import SinkCounters
from edge_client.audio.sinks.virtual import VirtualSink
from edge_client.face.pictures import ShownPicture
from edge_client.playback.events import PlayerState, View
from edge_client.telemetry import MAX_CONVERSATIONS, EdgeTelemetry, RelayClock
from tests.lab.spans import Told, listen

CONTEXT = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
MOTION = MotionFormat(MotionEncoding.AVATARKIT_V2, 25.0)
OPEN = ConversationOpen("c1", AudioFormat(Codec.PCM_S16LE, 16_000), MOTION, trace_context=CONTEXT)
RELAY_CLOCK = RelayClock(offset_us=50_000_000, error_us=300)


def picture(conversation_id: str, time_us: int, skew_us: int) -> ShownPicture:
    """A picture whose pose is `skew_us` behind the PTS heard."""
    return ShownPicture(time_us, time_us, View(PlayerState.PLAYING, conversation_id, shown_pts_us=0), heard_pts_us=skew_us)


def play(*, trace_every: int = 0, seconds: float = 1.0) -> Told:
    """One conversation from `open` to finished, on a device clock that begins at 1 s."""
    told = listen(trace_every=trace_every)
    edge = EdgeTelemetry(told.telemetry, "lobby", lambda time_us: RELAY_CLOCK)
    start_us, end_us = 1_000_000, 1_000_000 + round(seconds * 1e6)
    edge.opened(OPEN, start_us)
    for seq in (1, 2):
        edge.received("c1", Payload(Kind.AUDIO, seq, bytes(700), 0, 20_000), start_us + seq * 1_000)
        edge.decoded("c1", Kind.AUDIO, seq, start_us + seq * 1_000 + 500)
    edge.received("c1", Payload(Kind.MOTION, 1, bytes(24_968), 0, 2_000_000), start_us + 3_000)
    edge.buffered("c1", start_us + 4_000)
    edge.first_sample_heard("c1", start_us + 20_000)
    for time_us in range(start_us + 33_000, end_us, 33_001):
        edge.shown(picture("c1", time_us, 2_000 if time_us % 2 else -3_000), None)
        edge.skew_heard(50_000)
    edge.dropped("c1", Dropped(Kind.MOTION, 1, 220, "late"), end_us)
    edge.skew_alarm("c1", start_us + 500_000, 50_000)
    edge.underrun(2, "starved")
    edge.underrun(1, "device_dry")
    edge.finished("c1", Finished(end_us - start_us, False, "completed"), end_us)
    return told


def test_stages_in_the_relays_time() -> None:
    """One span per stage, a child of the relay's span, with times shifted by the clock offset that it carries."""
    spans = {span.name: span for span in play().spans()}
    names = {"device.receive", "device.buffer", "device.first_sound", "device.first_picture", "device.decode", "device.play"}
    assert set(spans) == names
    receive = spans["device.receive"]
    assert receive.parent is not None and f"{receive.parent.span_id:016x}" == CONTEXT.traceparent.split("-")[2]
    assert receive.start_time == (1_000_000 + RELAY_CLOCK.offset_us) * 1_000
    assert receive.attributes is not None
    assert receive.attributes["avatar.clock.offset_us"] == RELAY_CLOCK.offset_us
    assert receive.attributes["avatar.clock.error_us"] == RELAY_CLOCK.error_us
    assert receive.attributes["avatar.motion.bytes"] == 24_968
    assert "dropped" in [event.name for event in receive.events]
    for name in names - {"device.receive"}:
        parent = spans[name].parent
        assert parent is not None and receive.parent is not None and parent.span_id == receive.parent.span_id
    sound = spans["device.first_sound"]
    assert sound.start_time is not None and sound.end_time is not None and sound.end_time - sound.start_time == 19_000_000


def test_metrics_hold_what_a_summary_holds() -> None:
    """The metrics are keyframes, sound heard, pictures, skew, underruns, drops, time to the first sound."""
    told = play()
    assert told.count("avatar.device.keyframes") == 50
    assert told.count("avatar.device.played") == 1.0
    assert told.count("avatar.pictures") == 30
    assert told.count("avatar.underruns", avatar_cause="starved") == 2
    assert told.count("avatar.underruns", avatar_cause="device_dry") == 1
    assert told.count("avatar.skew.alarms") == 1
    (heard,) = told.points("avatar.skew.heard")
    assert (round(heard.max, 6), heard.count) == (0.05, 30)
    assert told.count("avatar.device.dropped", avatar_reason="late", avatar_payload_kind="motion") == 1
    skew = {point.attributes["avatar.sound"]: point for point in told.points("avatar.skew")}
    assert {name: point.max for name, point in skew.items()} == {"early": 0.002, "late": 0.003}
    assert sum(point.count for point in skew.values()) == 30
    (first,) = told.points("avatar.device.first_audio.duration")
    assert first.sum == 0.019


def test_skew_that_people_notice_is_on_the_span() -> None:
    """Noticeable skew is on the span with its size, in the relay's time."""
    (span,) = play().spans("device.play")
    (alarm,) = [event for event in span.events if event.name == "skew alarm"]
    assert alarm.attributes == {"avatar.skew_us": 50_000}
    assert alarm.timestamp == (1_500_000 + RELAY_CLOCK.offset_us) * 1_000


def test_a_long_conversation_plays_in_segments() -> None:
    """A conversation of several minutes is visible while it plays."""
    assert len(play(seconds=130.0).spans("device.play")) == 3


def test_payload_spans_are_sampled() -> None:
    """One payload in `trace_every` has a span; none by default."""
    assert [len(play(trace_every=every).spans("device.payload")) for every in (0, 2)] == [0, 1]


def test_device_that_leaves_ends_what_is_going_on() -> None:
    """Includes a conversation evicted by `MAX_CONVERSATIONS`; the parent of each span is the relay's, never one of the device."""
    told = listen()
    edge = EdgeTelemetry(told.telemetry, "lobby", lambda time_us: RELAY_CLOCK)
    for number in range(MAX_CONVERSATIONS + 1):
        edge.opened(replace(OPEN, conversation_id=f"c{number}"), number)
        edge.received(f"c{number}", Payload(Kind.AUDIO, 1, bytes(700), 0, 20_000), number)
        edge.first_sample_heard(f"c{number}", number)
    assert [dict(span.attributes or {})["avatar.conversation.id"] for span in told.spans("device.receive")] == ["c0"]
    edge.end_all(9_000)
    assert {span.parent.span_id for span in told.spans() if span.parent is not None} == {int(CONTEXT.traceparent[36:52], 16)}
    assert len(told.spans("device.receive")) == len(told.spans("device.play")) == MAX_CONVERSATIONS + 1
    assert not any(span.status.is_ok for span in told.spans("device.receive"))


def test_what_plays_is_a_metric() -> None:
    """A part's metric has its name, its state, and how often it was lost."""

    class Lost(VirtualSink):
        def counters(self) -> SinkCounters:
            return SinkCounters(restarts=3, lost="it was unplugged")

    told = listen()
    EdgeTelemetry(told.telemetry, "lobby", lambda time_us: RELAY_CLOCK).watch_sound(Lost(name="the speakers"))
    assert told.count("avatar.sound", avatar_state="failing", avatar_sink="the speakers") == 1
    assert told.count("avatar.sound.restarts") == 3


def test_a_card_that_is_being_opened_does_not_count_as_running() -> None:
    """Its state is not known yet."""

    class Opening(VirtualSink):
        def counters(self) -> SinkCounters:
            return SinkCounters(opening=True)

    told = listen()
    EdgeTelemetry(told.telemetry, "lobby", lambda time_us: RELAY_CLOCK).watch_sound(Opening(name="the speakers"))
    assert told.count("avatar.sound", avatar_state="starting", avatar_sink="the speakers") == 1


def test_the_time_that_the_certificate_is_valid_for_is_a_metric() -> None:
    """Negative once expired; of a new certificate as soon as it is in use; none without one."""
    told, shown = listen(), [Credentials()]
    EdgeTelemetry(told.telemetry, "lobby", lambda time_us: RELAY_CLOCK).watch_certificate(lambda: shown[-1], lambda: 1_000.9)
    assert told.count("avatar.device.certificate.expires_in") == 0
    shown.append(Credentials(validity=Validity(0, 4_000)))
    assert told.count("avatar.device.certificate.expires_in") == 3_000
    shown.append(Credentials(validity=Validity(0, 900)))
    assert told.count("avatar.device.certificate.expires_in") == -100
