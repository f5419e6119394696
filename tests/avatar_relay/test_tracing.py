"""Tracing: off by default, W3C context in both directions, and stages split into segments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode

from avatar_relay import tracing
from avatar_relay.media import TraceContext
from avatar_relay.otel_settings import exporter_names
from avatar_relay.tracing import (
    SEGMENT_US,
    TRACE_EVERY,
    Stage,
    context_of,
    current_context,
    parent_from,
    start_telemetry,
    trace_id_of,
)
from tests.lab.spans import listen

PARENT = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], asked: bool) -> None:
    """Export is on if an exporter or an endpoint is named, and off if the SDK is disabled."""
    assert bool(exporter_names(environment, "TRACES")) is asked


def test_off_imports_no_sdk() -> None:
    """If no export is requested, the SDK is not loaded, and spans are not recorded."""
    code = "import sys; from avatar_relay.tracing import start_telemetry; t = start_telemetry('a', 'b', 'c', {}); "
    code += "assert not t.enabled; t.shutdown(); print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert done.stdout.strip() == "[]"
    off = start_telemetry("a", "b", "c", {})
    assert context_of(off.tracer.start_span("x")) == TraceContext()


def test_context_goes_there_and_back() -> None:
    """A span under a remote parent is in its trace, and the context it sends names itself."""
    told = listen()
    stage = Stage(told.telemetry.tracer, "relay.receive", parent_from(PARENT), 1_000_000)
    sent = context_of(stage.span)
    stage.end(2_000_000)
    (span,) = told.spans()
    assert trace_id_of(sent) == trace_id_of(PARENT)
    assert sent.tracestate == "vendor=1"
    assert span.parent is not None and f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert (span.start_time, span.end_time) == (1_000_000_000, 2_000_000_000)


def test_trace_that_is_sampled_off_has_no_id() -> None:
    """Nobody could find the trace."""
    parts = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
    assert trace_id_of(TraceContext(parts + "01")) == trace_id_of(TraceContext(parts + "03")) == "0af7651916cd43dd8448eb211c80319c"
    assert trace_id_of(TraceContext(parts + "00")) == trace_id_of(TraceContext("nonsense")) == ""


def test_nonsense_is_no_parent() -> None:
    """An unreadable context starts a new trace."""
    told = listen()
    Stage(told.telemetry.tracer, "x", parent_from(TraceContext("nonsense", "\n")), 0).end(1)
    assert told.spans()[0].parent is None
    assert trace_id_of(TraceContext("nonsense")) == ""


def test_the_callers_active_span_is_joined() -> None:
    """The publisher library uses the active span of its caller's program, if any."""
    assert current_context() == TraceContext()
    with listen().telemetry.tracer.start_as_current_span("answer") as span:
        assert current_context() == context_of(span)


def test_a_long_stage_is_told_in_segments() -> None:
    """After `SEGMENT_US` a span ends OK and the next one, linked to it, continues: nothing waits for a stream to end."""
    told = listen()
    stage = Stage(told.telemetry.tracer, "device.play", Context(), 0)
    for second in range(150):
        stage.tick(second * 1_000_000)
    assert len(told.spans()) == 2
    stage.end(150_000_000)
    first, second_, third = told.spans()
    assert [span.end_time for span in told.spans()] == [SEGMENT_US * 1_000, 2 * SEGMENT_US * 1_000, 150_000_000_000]
    assert all(span.status.status_code is StatusCode.OK for span in told.spans())
    assert [link.context for link in (*second_.links, *third.links)] == [first.context, second_.context]
    assert third.attributes is not None and third.attributes["avatar.segment"] == 3


def wait_for_exports() -> None:
    """Wait for exports left over by `shutdown`: the SDK's retries use the global `random`, which other tests need."""
    for thread in threading.enumerate():
        if thread.name.startswith(("Otel", "telemetry-shutdown")):
            thread.join(15)


def test_one_payload_in_so_many_on_request() -> None:
    """Off by default; an invalid value is logged and leaves it off."""
    asked = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    every = [start_telemetry("a", "b", "c", {**asked, **more}) for more in ({}, {TRACE_EVERY: "100"}, {TRACE_EVERY: "-1"})]
    for telemetry in every:
        telemetry.shutdown()
    wait_for_exports()
    assert [telemetry.trace_every for telemetry in every] == [0, 100, 0]


def test_a_silent_collector_holds_up_no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that accepts connections and never answers: `shutdown` keeps its bound, whatever the SDK still retries."""
    monkeypatch.setattr(tracing, "SHUTDOWN_S", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        telemetry = start_telemetry("a", "b", "c", os.environ)
        telemetry.tracer.start_span("one").end()
        began = time.monotonic()
        telemetry.shutdown()
        assert 0.2 <= time.monotonic() - began < 0.8
    wait_for_exports()
