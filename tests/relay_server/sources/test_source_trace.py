"""Spans of a source's work."""

from __future__ import annotations

from avatar_relay.tracing import active, current_context, trace_id_of
from relay_server.sources.source_trace import SourceTrace, SourceTracing
from tests.lab.spans import listen


def test_what_is_open_ends_with_the_performance() -> None:
    """No span is left without its parent, and each ends once."""
    told = listen()
    trace = SourceTrace(told.telemetry.tracer, "spatius", lambda: 5_000_000)
    session, request = trace.begin("source.session"), trace.begin("source.request", {"avatar.source.session": 1})
    trace.end(session, fault="SOURCE_SILENT")
    trace.close(fault="SOURCE_FAILED")
    trace.end(request)
    trace.close()
    names = [span.name for span in told.spans()]
    assert names == ["source.session", "source.request", "source.perform"]
    root = told.spans("source.perform")[0]
    assert root.context is not None and root.parent is None
    assert [span.parent.span_id for span in told.spans() if span.parent is not None] == [root.context.span_id] * 2
    assert [span.status.description for span in told.spans()] == ["SOURCE_SILENT", None, "SOURCE_FAILED"]


def test_conversation_comes_under_it() -> None:
    """While its context is active; a performance becomes a child of the caller's span."""
    told = listen()
    outer = SourceTrace(told.telemetry.tracer, "spatius", lambda: 0)
    with active(outer.context):
        assert trace_id_of(current_context()) == trace_id_of(outer.context) != ""
        inner = SourceTrace(told.telemetry.tracer, "spatius", lambda: 0)
    assert trace_id_of(inner.context) == trace_id_of(outer.context)
    assert current_context().traceparent == ""


def test_off_without_a_tracer() -> None:
    """Then no span is active and none is reported."""
    trace = SourceTracing().begin("spatius")
    trace.end(trace.begin("source.session"))
    trace.close()
    with active(trace.context):
        assert current_context() == trace.context
    assert trace.context.traceparent == ""
