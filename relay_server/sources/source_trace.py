"""What a source does for one conversation, as spans. The conversation's trace begins with them.

    source.perform  INTERNAL  from the request for a performance to the end of its items
    source.session  CLIENT    what it takes until the service takes sound: a session that is opened or waited for, a call until its header
    source.request  CLIENT    from then until all motion came, or the service failed

A span that failed holds the reason (`Fault`). Spans that are still open when the performance ends are ended with it.
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
        """Begin `source.perform`, under the span that is active here if there is one."""
        self._tracer = tracer
        self._now = unix_time_us
        self._attributes: dict[str, AttributeValue] = {"avatar.source": source}
        parent = parent_from(current_context())
        self._root = Stage(tracer, "source.perform", parent, unix_time_us(), attributes=self._attributes)
        self._children: dict[Stage, None] = {}
        self._over = False

    @property
    def context(self) -> TraceContext:
        """What belongs to this performance comes under it; empty while tracing is off."""
        return context_of(self._root.span)

    def begin(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Stage:
        """Begin a span of `source.perform`; give it to `end`."""
        context = trace.set_span_in_context(self._root.span, Context())
        attributes = {**self._attributes, **(attributes or {})}
        stage = Stage(self._tracer, name, context, self._now(), kind=SpanKind.CLIENT, attributes=attributes)
        self._children[stage] = None
        return stage

    def end(self, stage: Stage, attributes: Mapping[str, AttributeValue] | None = None, *, fault: str | None = None) -> None:
        """End a span, well or with a fault's reason. Only the first time counts."""
        if stage in self._children:
            del self._children[stage]
            stage.end(self._now(), attributes, fault=fault)

    def close(self, *, fault: str | None = None) -> None:
        """The performance is over. Only the first time counts."""
        for stage in list(self._children):
            self.end(stage)
        if not self._over:
            self._over = True
            self._root.end(self._now(), fault=fault)


class SourceTracing:
    """Makes the traces of a source's performances."""

    def __init__(self, tracer: trace.Tracer | None = None, unix_time_us: Callable[[], int] = lambda: 0) -> None:
        """Off without a tracer."""
        self._tracer = tracer or trace.NoOpTracer()
        self._unix_time_us = unix_time_us

    def begin(self, source: str) -> SourceTrace:
        """A performance of this source begins."""
        return SourceTrace(self._tracer, source, self._unix_time_us)
