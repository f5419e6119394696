"""OpenTelemetry spans and metrics of the relay.

Spans of each conversation, under the publisher's span (or a new root if the publisher sent no context):

    relay.receive   CONSUMER  from `open` to `end`: payloads and bytes received
    relay.queue     INTERNAL  for each device: the first payload's wait for its turn and for credit
    relay.send      PRODUCER  for each device: from the first payload sent to the last
    relay.drop      INTERNAL  payloads not used, by the relay or by a device
    relay.payload   INTERNAL  one payload in `Telemetry.trace_every`, its time in the queue (off by default)

Ids are on spans only: on metrics their cardinality would be unbounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind

from avatar_relay.media import ConversationOpen, Kind
from avatar_relay.messages import Dropped, Finished, PlayerEvent
from avatar_relay.tracing import CONVERSATION_ID, DEVICE_ID, KIND, PUBLISHER_ID, REASON, Stage, Telemetry, context_of, parent_from
from relay_server.core.events import (
    ConversationEnded,
    ConversationFaulted,
    ConversationOpened,
    DeviceAttached,
    DeviceDetached,
    MessageUnknown,
    Notice,
    PayloadsReceived,
    PlayerTold,
    StreamFailed,
)
from relay_server.core.payload_batch import PayloadBatch
from relay_server.observer import RelayObserver

_OF_KIND = {kind: {KIND: kind.value} for kind in Kind}
"""Metric attributes by kind, created once."""
TIMED_EVERY = 32
"""One message in this many is recorded in the histogram: a value costs the SDK a tenth of the relay's cost of a message."""
MAX_CONVERSATIONS = 4_096
"""Limit on conversations with open spans; beyond it the spans of the oldest are ended."""


def _told(counts: dict[Kind, int]) -> Callable[[CallbackOptions], list[Observation]]:
    """A callback that observes counts: adding to an SDK counter for each message would cost as much as the message."""

    def observe(_options: CallbackOptions) -> list[Observation]:
        return [Observation(count, _OF_KIND[kind]) for kind, count in counts.items() if count]

    return observe


@dataclass(slots=True)
class _DeviceLeg:
    """A conversation's span and counts for one device."""

    send: Stage
    unix_offset_us: int
    """Wall clock minus the relay's clock, when it began."""
    last_sent_us: int
    """Time on the relay's clock."""
    payloads: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))


@dataclass(slots=True)
class _RelayTrail:
    """A conversation's spans and counts."""

    receive: Stage
    context: Context
    receiving: bool = True
    payloads: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    legs: dict[str, _DeviceLeg] = field(default_factory=dict)
    devices: int = 0


def _counts(taken: _DeviceLeg | _RelayTrail) -> dict[str, int]:
    """Span attributes with the counts of each kind."""
    counted = {"payloads": taken.payloads, "bytes": taken.bytes}
    return {f"avatar.{kind.value}.{what}": counts[kind] for kind in Kind for what, counts in counted.items()}


class RelayTelemetry(RelayObserver):
    """Observer that records spans and metrics. Belongs to the relay's event loop."""

    def __init__(self, telemetry: Telemetry, unix_time_us: Callable[[], int]) -> None:
        """`unix_time_us` is the relay's wall clock."""
        self._tracer = telemetry.tracer
        self._now = unix_time_us
        self._trace_every = telemetry.trace_every
        self._trails: OrderedDict[str, _RelayTrail] = OrderedDict()
        meter = self._meter = telemetry.meter
        self._received = dict.fromkeys(Kind, 0)
        self._sent = dict.fromkeys(Kind, 0)
        self._messages = 0
        meter.create_observable_counter("avatar.relay.received", [_told(self._received)], "By", "Payload bytes taken from publishers")
        meter.create_observable_counter("avatar.relay.sent", [_told(self._sent)], "By", "Payload bytes sent to devices")
        self._dropped = meter.create_counter("avatar.payloads.dropped", "{payload}", "Payloads not used, by the relay or a device")
        self._queued = meter.create_histogram(
            "avatar.relay.queue.duration", "s", "Time a payload waited at the relay, of one message in 32"
        )
        self._attached = meter.create_up_down_counter("avatar.devices.attached", "{device}", "Devices whose stream is up")
        self._finished = meter.create_counter("avatar.conversations.finished", "{conversation}", "Finished, for each device")
        self._faults = meter.create_counter("avatar.faults", "{fault}", "Faults of conversations and streams")
        self._unknown = meter.create_counter("avatar.messages.unknown", "{message}", "Messages this version does not know")

    def certificate(self, expires_in_s: Callable[[], int]) -> None:
        """See `RelayObserver`."""

        def tell(_options: object) -> list[Observation]:
            return [Observation(expires_in_s())]

        self._meter.create_observable_gauge("avatar.relay.certificate.expires_in", [tell], "s", "Until the relay's certificate expires")

    def begin(self, open_: ConversationOpen) -> ConversationOpen:
        """Begin a conversation's spans; returns the `open` with a trace context that makes the device's spans children."""
        attributes = {CONVERSATION_ID: open_.conversation_id, "avatar.pacing": open_.pacing.value}
        parent = parent_from(open_.trace_context)
        receive = Stage(self._tracer, "relay.receive", parent, self._now(), kind=SpanKind.CONSUMER, attributes=attributes)
        self._trails[open_.conversation_id] = _RelayTrail(receive, trace.set_span_in_context(receive.span, Context()))
        if len(self._trails) > MAX_CONVERSATIONS:
            self._close(self._trails.popitem(last=False)[1], None)
        context = context_of(receive.span)
        return replace(open_, trace_context=context) if context.traceparent else open_

    def notice(self, notice: Notice) -> None:
        """Count the notice, and record it on its spans."""
        match notice:
            case ConversationOpened(open_, publisher_id, device_ids):
                if trail := self._trails.get(open_.conversation_id):
                    trail.devices = len(device_ids)
                    trail.receive.span.set_attributes({PUBLISHER_ID: publisher_id, DEVICE_ID: device_ids})
            case ConversationEnded(last):
                if trail := self._trails.get(last.conversation_id):
                    self._end_receive(trail, None)
            case ConversationFaulted(conversation_id, device_id, fault):
                self._faults.add(1, {REASON: fault.reason.value})
                if trail := self._trails.get(conversation_id):
                    trail.receive.event("fault", self._now(), {REASON: fault.reason.value, DEVICE_ID: device_id})
            case PlayerTold(event):
                self._player_event(event)
            case DeviceAttached():
                self._attached.add(1, {"avatar.resumed": notice.resumed})
            case DeviceDetached():
                self._attached.add(-1, {REASON: notice.reason})
            case MessageUnknown(leg):
                self._unknown.add(1, {"avatar.leg": leg})
            case StreamFailed(leg, fault):
                self._faults.add(1, {REASON: fault.reason.value, "avatar.leg": leg})

    def payloads_received(self, notice: PayloadsReceived) -> None:
        """Count received payloads."""
        conversation_id, kind, payloads, size_bytes = notice
        self._received[kind] += size_bytes
        if trail := self._trails.get(conversation_id):
            trail.payloads[kind] += payloads
            trail.bytes[kind] += size_bytes

    def payloads_sent(self, device_id: str, conversation_id: str, batches: Sequence[PayloadBatch], now_us: int) -> None:
        """Count sent payloads; the first to a device ends `relay.queue` and begins `relay.send`."""
        first = batches[0]
        if self._messages % TIMED_EVERY == 0:
            self._queued.record((now_us - first.received_us) * 1e-6, _OF_KIND[first.kind])
        self._messages += 1
        leg = None
        if trail := self._trails.get(conversation_id):
            leg = trail.legs.get(device_id) or self._begin_leg(trail, device_id, conversation_id, now_us, now_us - first.received_us)
            leg.last_sent_us = now_us
        for batch in batches:
            kind, size_bytes = batch.kind, batch.size_bytes
            self._sent[kind] += size_bytes
            if leg is not None:
                leg.payloads[kind] += len(batch.seqs)
                leg.bytes[kind] += size_bytes
        if self._trace_every and trail is not None:
            self._trace_payloads(trail, batches, now_us)

    def tick(self) -> None:
        """Begin the next segments of long spans."""
        now = self._now()
        for trail in self._trails.values():
            if trail.receiving:
                trail.receive.tick(now)
            for leg in trail.legs.values():
                leg.send.tick(now)

    def close(self) -> None:
        """End all open spans, so that they are exported."""
        while self._trails:
            self._close(self._trails.popitem()[1], "SHUTDOWN")

    def _player_event(self, event: PlayerEvent) -> None:
        trail = self._trails.get(event.conversation_id)
        match event.body:
            case Finished():
                self._finish(trail, event.device_id, event.body)
            case Dropped():
                self._drop(trail, event, event.body)
            case body:
                if trail is not None and (leg := trail.legs.get(event.device_id)):
                    leg.send.event(f"player.{type(body).__name__.lower()}", self._now(), {DEVICE_ID: event.device_id})

    def _drop(self, trail: _RelayTrail | None, event: PlayerEvent, body: Dropped) -> None:
        """Count dropped payloads and record a span, so that they are visible in traces."""
        self._dropped.add(body.payloads, {KIND: body.kind.value, REASON: body.reason})
        what = {CONVERSATION_ID: event.conversation_id, DEVICE_ID: event.device_id, KIND: body.kind.value, REASON: body.reason}
        counts = {"avatar.payloads": body.payloads, "avatar.bytes": body.bytes}
        now = self._now()
        parent = trail.context if trail is not None else Context()
        Stage(self._tracer, "relay.drop", parent, now, attributes={**what, **counts}).end(now)

    def _finish(self, trail: _RelayTrail | None, device_id: str, body: Finished) -> None:
        """End the device's spans, and the conversation's with the last device. Ignores a group's summary, which has no device."""
        if not device_id:
            return
        self._finished.add(1, {REASON: body.reason, "avatar.interrupted": body.interrupted})
        if trail is None:
            return
        if leg := trail.legs.pop(device_id, None):
            self._end_leg(leg, body)
        trail.devices -= 1
        if trail.devices <= 0:
            self._end_receive(trail, None)

    def _begin_leg(self, trail: _RelayTrail, device_id: str, conversation_id: str, now_us: int, queued_us: int) -> _DeviceLeg:
        now = self._now()
        attributes = {CONVERSATION_ID: conversation_id, DEVICE_ID: device_id}
        Stage(self._tracer, "relay.queue", trail.context, now - queued_us, attributes=attributes).end(now)
        send = Stage(self._tracer, "relay.send", trail.context, now, kind=SpanKind.PRODUCER, attributes=attributes)
        leg = trail.legs[device_id] = _DeviceLeg(send, now - now_us, now_us)
        return leg

    def _trace_payloads(self, trail: _RelayTrail, batches: Sequence[PayloadBatch], now_us: int) -> None:
        now = self._now()
        for batch in batches:
            for seq in batch.seqs:
                if seq % self._trace_every == 0:
                    attributes = {KIND: batch.kind.value, "avatar.payload.seq": seq}
                    received = now - (now_us - batch.received_us)
                    Stage(self._tracer, "relay.payload", trail.context, received, attributes=attributes).end(now)

    def _end_leg(self, leg: _DeviceLeg, body: Finished | None) -> None:
        attributes: dict[str, str | int | bool] = {**_counts(leg)}
        if body is not None:
            attributes |= {REASON: body.reason, "avatar.interrupted": body.interrupted, "avatar.position_us": body.position_us}
        leg.send.end(leg.unix_offset_us + leg.last_sent_us, attributes)

    def _end_receive(self, trail: _RelayTrail, fault: str | None) -> None:
        if trail.receiving:
            trail.receiving = False
            trail.receive.end(self._now(), _counts(trail), fault=fault)

    def _close(self, trail: _RelayTrail, fault: str | None) -> None:
        for leg in trail.legs.values():
            self._end_leg(leg, None)
        self._end_receive(trail, fault)
