"""The spans of a source's work for one conversation. The conversation's trace begins with them.

    source.perform  INTERNAL  from the request for a performance to the end of its items
    source.session  CLIENT    until the service accepts sound: opening or waiting for a session, or a call until its header
    source.request  CLIENT    from then until all motion has arrived, or the service failed

A failed span holds the reason (`Fault`). Spans still open at the end of the performance are ended with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from avatar_relay.media import TraceContext
from avatar_relay.tracing import Stage, context_of, current_context, parent_from

SESSION = "avatar.source.session"
"""Number of a vendor session, or of a call."""
KEYFRAMES = "avatar.motion.keyframes"


class SourceTrace:
    """The spans of one performance. Not thread-safe."""

    def __init__(self, tracer: trace.Tracer, source: str, unix_time_us: Callable[[], int]) -> None:
        """Begin `source.perform`, as a child of the current span if there is one."""
        self._tracer = tracer
        self._now = unix_time_us
        self._attributes: dict[str, AttributeValue] = {"avatar.source": source}
        parent = parent_from(current_context())
        self._root = Stage(tracer, "source.perform", parent, unix_time_us(), attributes=self._attributes)
        self._children: dict[Stage, None] = {}
        self._over = False

    @property
    def context(self) -> TraceContext:
        """Parent context for the performance's other spans; empty while tracing is off."""
        return context_of(self._root.span)

    def begin(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Stage:
        """Begin a child span of `source.perform`; end it with `end`."""
        context = trace.set_span_in_context(self._root.span, Context())
        attributes = {**self._attributes, **(attributes or {})}
        stage = Stage(self._tracer, name, context, self._now(), kind=SpanKind.CLIENT, attributes=attributes)
        self._children[stage] = None
        return stage

    def end(self, stage: Stage, attributes: Mapping[str, AttributeValue] | None = None, *, fault: str | None = None) -> None:
        """End a span, with a fault's reason if it failed. Only the first call counts."""
        if stage in self._children:
            del self._children[stage]
            stage.end(self._now(), attributes, fault=fault)

    def close(self, *, fault: str | None = None) -> None:
        """End the performance's spans. Only the first call counts."""
        for stage in list(self._children):
            self.end(stage)
        if not self._over:
            self._over = True
            self._root.end(self._now(), fault=fault)


class SourceTracing:
    """Creates the traces of a source's performances."""

    def __init__(self, tracer: trace.Tracer | None = None, unix_time_us: Callable[[], int] = lambda: 0) -> None:
        """Tracing is off without a tracer."""
        self._tracer = tracer or trace.NoOpTracer()
        self._unix_time_us = unix_time_us

    def begin(self, source: str) -> SourceTrace:
        """Begin the trace of a performance of `source`."""
        return SourceTrace(self._tracer, source, self._unix_time_us)
