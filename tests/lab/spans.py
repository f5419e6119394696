"""An in-memory tracer and meter for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from avatar_relay.tracing import Telemetry


@dataclass(frozen=True, slots=True)
class Told:
    """Telemetry recorded so far."""

    telemetry: Telemetry
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Ended spans, all or those of one name."""
        return [span for span in self.exporter.get_finished_spans() if name in ("", span.name)]

    def points(self, name: str) -> list[Any]:
        """The data points of a metric; empty if nothing was recorded."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data is not None else []
        return [point for scope in scopes for metric in scope.metrics if metric.name == name for point in metric.data.data_points]

    def count(self, name: str, **attributes: str) -> float:
        """The sum of a counter over the points with these attributes (`_` stands for `.`)."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return float(sum(point.value for point in self.points(name) if wanted.items() <= dict(point.attributes).items()))


def listen(*, trace_every: int = 0) -> Told:
    """Create telemetry that keeps what is recorded."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    return Told(Telemetry(tracers.get_tracer("test"), meters.get_meter("test"), True, lambda: None, trace_every), exporter, reader)
