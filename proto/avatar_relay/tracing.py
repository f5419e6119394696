"""Tracing and metrics: starts OpenTelemetry for both programs, and defines the names that connect one conversation's spans.

One trace per conversation. Its context travels on `open` (W3C Trace Context); publisher, relay and device each add their spans under the
previous one's. A long stage is reported in segments of at most `SEGMENT_US`, each ended OK and linked to the one before it, because a span
that never ends is never seen.

Off unless an exporter is selected by the standard environment variables (`OTEL_TRACES_EXPORTER=otlp`, `OTEL_EXPORTER_OTLP_ENDPOINT` …);
then the SDK is not even imported. Export runs on the SDK's own threads with bounded queues: an unreachable collector costs spans, never
media. No attribute may hold payload bytes, spoken text or credentials.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from avatar_relay.media import TraceContext
from avatar_relay.otel_settings import GROUPS, exporter_names, problems

logger = logging.getLogger(__name__)

SEGMENT_US = 60_000_000
"""A stage longer than this is reported in several spans."""
SHUTDOWN_S = 3.0
"""Time limit of the last export at exit."""

TRACE_EVERY = "AVATAR_TRACE_EVERY"
"""Environment variable in addition to OpenTelemetry's own: one payload in this many gets its own span."""

CONVERSATION_ID = "avatar.conversation.id"
DEVICE_ID = "avatar.device.id"
PUBLISHER_ID = "avatar.publisher.id"
KIND = "avatar.payload.kind"
REASON = "avatar.reason"
SEGMENT = "avatar.segment"
CLOCK_OFFSET_US = "avatar.clock.offset_us"
CLOCK_ERROR_US = "avatar.clock.error_us"

_SAMPLED = frozenset("13579bdf")
"""Last digits of the flags with the lowest bit set."""
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A program's tracer and meter; both do nothing if no exporter was selected."""

    tracer: trace.Tracer
    meter: metrics.Meter
    enabled: bool
    shutdown: Callable[[], None]
    """Exports the remaining data, within `SHUTDOWN_S`, and stops. Blocks; call it once, at exit."""
    trace_every: int = 0
    """One payload in this many gets its own span, at about 100 µs each; 0: none."""


def telemetry_off() -> Telemetry:
    """Telemetry that does nothing and costs next to nothing."""
    return Telemetry(trace.NoOpTracer(), metrics.NoOpMeter("avatar_relay"), False, lambda: None)


def start_telemetry(service_name: str, instance_id: str, version: str, environment: Mapping[str, str]) -> Telemetry:
    """Start the exporters selected by the environment; returns `telemetry_off` if there are none.

    Endpoint, headers, sampler, time-outs and queue sizes are the SDK's own, read from the standard variables, and so are name and resource
    of the service, with the defaults `service_name`, `instance_id` and `version`. A wrong variable is logged in one line, and telemetry
    stays off: neither sound nor face depends on it. Raises nothing.
    """
    exporters = {signal: exporter_names(environment, signal) for signal in GROUPS}
    if not any(exporters.values()):
        return telemetry_off()
    wrong = "; ".join(problems(environment))
    if wrong:
        logger.warning("telemetry is off: %s", wrong)
        return telemetry_off()
    try:
        from avatar_relay.otel_providers import start_providers  # late: the SDK costs start-up time

        resource = {"service.name": service_name, "service.instance.id": instance_id, "service.version": version}
        tracer_provider, meter_provider = start_providers(resource, exporters["TRACES"], exporters["METRICS"])
    except Exception as error:  # the SDK's errors are arbitrary: a setting that `problems` does not check, an occupied port
        names = ", ".join(sorted(name for name in environment if name.startswith("OTEL_")))
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        logger.warning("telemetry is off: OpenTelemetry does not start (%s); set are %s", reason, names)
        return telemetry_off()
    off = telemetry_off()

    def export_and_stop() -> None:
        if tracer_provider is not None:
            tracer_provider.shutdown()
        if meter_provider is not None:
            meter_provider.shutdown()

    def shutdown() -> None:
        # the SDK retries beyond its time-out while a collector is away: 10 s for a time-out of 3 s were observed
        exporting = threading.Thread(target=export_and_stop, name="telemetry-shutdown", daemon=True)
        exporting.start()
        exporting.join(SHUTDOWN_S)

    return Telemetry(
        tracer=tracer_provider.get_tracer("avatar_relay", version) if tracer_provider else off.tracer,
        meter=meter_provider.get_meter("avatar_relay", version) if meter_provider else off.meter,
        enabled=True,
        shutdown=shutdown,
        trace_every=_trace_every(environment),
    )


def _trace_every(environment: Mapping[str, str]) -> int:
    value = environment.get(TRACE_EVERY) or "0"
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    logger.warning("%s=%.80r is not a whole number; no payload gets a span of its own", TRACE_EVERY, value)
    return 0


def context_of(span: Span) -> TraceContext:
    """The context to send, so that the receiver's spans are children of `span`; empty if it is not recorded."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, otel_context.Context()))
    return TraceContext(carrier.get("traceparent", ""), carrier.get("tracestate", ""))


def current_context() -> TraceContext:
    """The context of the active span of the caller's own program; empty if there is none."""
    return context_of(trace.get_current_span())


@contextmanager
def active(context: TraceContext) -> Iterator[None]:
    """Make `context` the result of `current_context` within the block; an empty one changes nothing."""
    if not context.traceparent:
        yield
        return
    token = otel_context.attach(parent_from(context))
    try:
        yield
    finally:
        otel_context.detach(token)


def parent_from(context: TraceContext) -> otel_context.Context:
    """The sender's context as parent of new spans; a root if it is missing or invalid."""
    carrier = {"traceparent": context.traceparent, "tracestate": context.tracestate}
    return _PROPAGATOR.extract(carrier, otel_context.Context())


def trace_id_of(context: TraceContext) -> str:
    """The trace's id in hex; empty if there is none, or it is not sampled and thus not stored."""
    parts = context.traceparent.split("-")
    return parts[1] if len(parts) == 4 and parts[3][-1:] in _SAMPLED else ""


class Stage:
    """A stage of a conversation as spans: one, or several segments if it is long. Not thread-safe.

    Times are µs since the Unix epoch and come from the caller, which knows the reference clock.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        name: str,
        parent: otel_context.Context,
        start_unix_us: int,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._parent = parent
        self._kind = kind
        self._attributes = dict(attributes or {})
        self._segment = 0
        self._started_us = start_unix_us
        self.span = self._start(start_unix_us, None)

    def _start(self, unix_us: int, previous: Span | None) -> Span:
        self._segment += 1
        self._started_us = unix_us
        attributes = self._attributes if self._segment == 1 else {**self._attributes, SEGMENT: self._segment}
        links = [Link(previous.get_span_context())] if previous is not None else None
        return self._tracer.start_span(
            self._name, self._parent, self._kind, attributes, links, start_time=unix_us * 1000, record_exception=False
        )

    def tick(self, unix_us: int) -> None:
        """Begin the next segment if the current one has reached `SEGMENT_US`."""
        if unix_us - self._started_us >= SEGMENT_US:
            finished = self.span
            self.end(unix_us)
            self.span = self._start(unix_us, finished)

    def event(self, name: str, unix_us: int, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Add an event to the stage."""
        self.span.add_event(name, dict(attributes or {}), unix_us * 1000)

    def end(self, unix_us: int, attributes: Mapping[str, AttributeValue] | None = None, *, fault: str | None = None) -> None:
        """End the stage: OK, or with a fault's reason."""
        if attributes:
            self.span.set_attributes(dict(attributes))
        self.span.set_status(Status(StatusCode.OK) if fault is None else Status(StatusCode.ERROR, fault))
        self.span.end(max(unix_us, self._started_us) * 1000)
