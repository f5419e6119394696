"""OpenTelemetry's providers with the selected exporters. Imported only if needed: the SDK costs start-up time and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from avatar_relay.otel_settings import GROUPS

_UNKNOWN = "unknown_service"
"""Prefix of the SDK's default service name."""


def start_providers(
    resource: Mapping[str, str], traces: Sequence[str], metrics: Sequence[str]
) -> tuple[TracerProvider | None, MeterProvider | None]:
    """Providers with these exporters, by the names of their entry points; None for a signal without one.

    The standard variables override `resource`. Raises what the SDK raises; then nothing is left running.
    """
    ours = _resource(resource)
    meter_provider = _meter_provider(metrics, ours) if metrics else None
    try:
        return _tracer_provider(traces, ours) if traces else None, meter_provider
    except BaseException:
        if meter_provider is not None:
            threading.Thread(target=meter_provider.shutdown, name="telemetry-shutdown", daemon=True).start()
        raise


def _resource(attributes: Mapping[str, str]) -> Resource:
    """The operator's attributes, completed by `attributes`."""
    told = Resource.create()
    return told.merge(Resource({name: text for name, text in attributes.items() if _is_open(told.attributes.get(name))}))


def _is_open(value: object) -> bool:
    return value is None or str(value).startswith(_UNKNOWN)


def _tracer_provider(names: Sequence[str], resource: Resource) -> TracerProvider:
    exporters = [kind() for kind in _exporters("TRACES", names)]
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _meter_provider(names: Sequence[str], resource: Resource) -> MeterProvider:
    exporters = [kind() for kind in _exporters("METRICS", names)]
    readers = [one if isinstance(one, MetricReader) else PeriodicExportingMetricReader(one) for one in exporters]
    return MeterProvider(readers, resource=resource, shutdown_on_exit=False)


def _exporters(signal: str, names: Sequence[str]) -> Iterator[Any]:
    """Classes of exporters, or of readers of metrics. Raises what importing them raises."""
    for name in names:
        (found,) = entry_points(group=GROUPS[signal], name=name)
        yield found.load()
