"""What the relay reports of a conversation in spans and metrics."""

from __future__ import annotations

from collections.abc import Sequence

from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Cursor, Kind
from avatar_relay.messages import Dropped, Finished, PlayerEvent
from avatar_relay.reasons import Fault, Reason
from avatar_relay.tracing import SEGMENT_US
from relay_server.core.events import (
    ConversationEnded,
    ConversationFaulted,
    ConversationOpened,
    DeviceAttached,
    PayloadsReceived,
    PlayerTold,
)
from relay_server.core.payload_batch import PayloadBatch
from relay_server.telemetry import MAX_CONVERSATIONS, TIMED_EVERY, RelayTelemetry
from tests.lab.spans import Told, listen

OPEN = ConversationOpen("c1", AudioFormat(Codec.PCM_S16LE, 16_000))


class Clock:
    """A wall clock set manually, in µs."""

    def __init__(self) -> None:
        self.now_us = 1_000_000_000

    def __call__(self) -> int:
        return self.now_us


def begin(*, trace_every: int = 0) -> tuple[Told, Clock, RelayTelemetry, ConversationOpen]:
    """Open a conversation on one device."""
    told, clock = listen(trace_every=trace_every), Clock()
    relay = RelayTelemetry(told.telemetry, clock)
    open_ = relay.begin(OPEN)
    relay.notice(ConversationOpened(open_, "backend", ("lobby",)))
    return told, clock, relay, open_


def run(seqs: Sequence[int], size_bytes: int) -> PayloadBatch:
    """Sound received at time 0."""
    return PayloadBatch(Kind.AUDIO, seqs, seqs, [size_bytes // len(seqs)] * len(seqs), 0, size_bytes)


def test_stages_of_a_conversation() -> None:
    """Receive, queue and send, each with its time and counts; the device's spans are children of `relay.receive`."""
    told, clock, relay, open_ = begin()
    relay.payloads_received(PayloadsReceived("c1", Kind.AUDIO, 1, 700))
    clock.now_us += 5_000
    relay.payloads_sent("lobby", "c1", [run([1], 700)], 4_000)
    clock.now_us += 5_000
    relay.notice(ConversationEnded(Cursor("c1", 1, 0), ("lobby",)))
    clock.now_us += 1_000_000
    relay.notice(PlayerTold(PlayerEvent(1, "c1", Finished(100_000, False, "completed"), "lobby")))
    spans = {span.name: span for span in told.spans()}
    assert set(spans) == {"relay.receive", "relay.queue", "relay.send"}
    receive = spans["relay.receive"]
    assert receive.context is not None
    assert open_.trace_context.traceparent.split("-")[2] == f"{receive.context.span_id:016x}"
    queue, send = spans["relay.queue"], spans["relay.send"]
    assert queue.end_time is not None and queue.start_time is not None and queue.end_time - queue.start_time == 4_000_000
    assert send.start_time == send.end_time  # one message
    assert send.attributes is not None and send.attributes["avatar.audio.bytes"] == 700
    assert send.attributes["avatar.reason"] == "completed"


def test_what_lasts_is_told_in_segments() -> None:
    """Reading the clock ends a segment that is long enough, even without new media."""
    told, clock, relay, _ = begin()
    relay.payloads_sent("lobby", "c1", [run([1], 700)], 4_000)
    relay.tick()
    assert {span.name for span in told.spans()} == {"relay.queue"}
    clock.now_us += SEGMENT_US
    relay.tick()
    assert {span.name for span in told.spans()} == {"relay.queue", "relay.receive", "relay.send"}
    relay.notice(ConversationEnded(Cursor("c1", 1, 0), ("lobby",)))
    assert len(told.spans("relay.receive")) == 2


def test_a_dropped_motion_payload_is_a_metric_and_a_span() -> None:
    """Holds for any component that drops it, and after the conversation's media has ended."""
    told, _, relay, _ = begin()
    relay.notice(ConversationEnded(Cursor("c1", 1, 0), ("lobby",)))
    relay.notice(PlayerTold(PlayerEvent(0, "c1", Dropped(Kind.MOTION, 2, 440, "conversation_closed"))))
    assert told.count("avatar.payloads.dropped", avatar_payload_kind="motion", avatar_reason="conversation_closed") == 2
    (span,) = told.spans("relay.drop")
    (receive,) = told.spans("relay.receive")
    assert span.parent is not None and receive.context is not None and span.parent.span_id == receive.context.span_id
    assert span.attributes is not None and span.attributes["avatar.payloads"] == 2


def test_metrics_name_no_ids() -> None:
    """Ids are unbounded, so they appear in spans only."""
    told, _, relay, _ = begin()
    relay.payloads_received(PayloadsReceived("c1", Kind.AUDIO, 1, 700))
    relay.payloads_sent("lobby", "c1", [run([1], 700)], 0)
    relay.notice(ConversationFaulted("c1", "lobby", Fault(Reason.NO_AUDIO, "nothing")))
    relay.notice(DeviceAttached("lobby", resumed=False))
    relay.notice(PlayerTold(PlayerEvent(1, "c1", Finished(0, True, "interrupted"), "lobby")))
    names = ("avatar.relay.received", "avatar.relay.sent", "avatar.faults", "avatar.devices.attached", "avatar.conversations.finished")
    points = [point for name in names for point in told.points(name)]
    assert len(points) == len(names)
    assert not {"c1", "lobby", "backend"} & {str(value) for point in points for value in point.attributes.values()}


def test_waits_are_sampled() -> None:
    """One message in N enters the histogram, including the first; bytes are counted for all."""
    told, _, relay, _ = begin()
    for _ in range(2 * TIMED_EVERY):
        relay.payloads_sent("lobby", "c1", [run([1], 700)], 4_000)
    (waits,) = told.points("avatar.relay.queue.duration")
    assert (waits.count, waits.max) == (2, 0.004)
    assert told.count("avatar.relay.sent", avatar_payload_kind="audio") == 2 * TIMED_EVERY * 700


def test_payload_spans_are_sampled() -> None:
    """One payload in `trace_every`; none by default."""
    for trace_every, expected in ((0, 0), (4, 2)):
        told, _, relay, _ = begin(trace_every=trace_every)
        relay.payloads_sent("lobby", "c1", [run(range(1, 11), 7_000)], 1_000)
        assert len(told.spans("relay.payload")) == expected


def test_what_is_kept_is_bounded() -> None:
    """Conversations that never finish do not accumulate: the oldest are ended and released."""
    told, _, relay, _ = begin()
    for number in range(MAX_CONVERSATIONS):
        relay.begin(ConversationOpen(f"d{number}", OPEN.audio_format))
    assert len(told.spans("relay.receive")) == 1
    relay.close()
    assert len(told.spans("relay.receive")) == MAX_CONVERSATIONS + 1
