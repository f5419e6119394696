"""An OTLP/gRPC receiver on loopback that stores the exported traces and metrics unchanged."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

SIGNALS = ("trace", "metrics")
MAX_BYTES = 256 << 20
"""Limit for each signal; data beyond it is acknowledged but not stored."""


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span with the service that sent it. Times are ns since the Unix epoch; ids are hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    ok: bool
    attributes: dict[str, Any]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "", None) for pair in pairs}


def _otlp_json(value: Any) -> Any:
    """Convert to OTLP JSON: protobuf's JSON, but with ids in hex (opentelemetry.io/docs/specs/otlp, "JSON Protobuf encoding")."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in ("traceId", "spanId", "parentSpanId") else _otlp_json(item)
            for key, item in value.items()
        }
    return [_otlp_json(item) for item in value] if isinstance(value, list) else value


class OtlpReceiver:
    """`async with OtlpReceiver() as receiver:` listens on `receiver.endpoint` until the block ends; it answers after `delay_s`."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.endpoint = ""
        self._delay_s = delay_s
        self._received: dict[str, list[bytes]] = {signal: [] for signal in SIGNALS}
        self._sizes = dict.fromkeys(SIGNALS, 0)
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        for signal in SIGNALS:
            handlers: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(self._exporter(signal))}
            name = f"opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service"
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0.5)

    def _exporter(self, signal: str) -> Any:
        async def export(request: bytes, context: object) -> bytes:
            del context
            await asyncio.sleep(self._delay_s)
            if self._sizes[signal] < MAX_BYTES:
                self._sizes[signal] += len(request)
                self._received[signal].append(request)
            self._changed.set()
            return b""  # an empty response

        return export

    def received(self, signal: str) -> bytes:
        """All requests of one signal so far, joined."""
        return b"".join(self._received[signal])

    async def wait_for(self, text: bytes, within_s: float) -> None:
        """Wait until an export contains `text`. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while not any(text in self.received(signal) for signal in SIGNALS):
                self._changed.clear()
                await self._changed.wait()

    def _batches(self) -> list[trace_pb2.ResourceSpans]:
        requests = (trace_service_pb2.ExportTraceServiceRequest.FromString(data) for data in self._received["trace"])
        return [batch for request in requests for batch in request.resource_spans]

    @property
    def spans(self) -> list[ReceivedSpan]:
        """All spans received so far, ordered by start time."""
        found = [
            ReceivedSpan(
                service=str(_attributes(batch.resource.attributes).get("service.name", "")),
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_span_id=span.parent_span_id.hex(),
                start_ns=span.start_time_unix_nano,
                end_ns=span.end_time_unix_nano,
                ok=span.status.code != trace_pb2.Status.STATUS_CODE_ERROR,
                attributes=_attributes(span.attributes),
            )
            for batch in self._batches()
            for scope in batch.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: span.start_ns)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """All spans of one trace, ordered by start time."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def write(self, path: Path) -> None:
        """Write all traces as OTLP JSON, which trace viewers can read."""
        path.write_text(json.dumps({"resourceSpans": [_otlp_json(MessageToDict(batch)) for batch in self._batches()]}, indent=1) + "\n")
