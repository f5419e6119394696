"""A small OTLP/gRPC endpoint that keeps the spans it is sent: the receiving side of the demo and of the tests.

Bounded: after `MAX_SPANS` further spans are counted and not kept.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

MAX_SPANS = 100_000


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came, with what its sender said of itself. Times are ns since the Unix epoch; ids are hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    ok: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()


def _value(value: common_pb2.AnyValue) -> Any:
    name = value.WhichOneof("value")
    return None if name is None else getattr(value, name)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _otlp_json(value: Any) -> Any:
    """OTLP's JSON: as protobuf's own, but ids in hex (opentelemetry.io/docs/specs/otlp, "JSON Protobuf encoding")."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in ("traceId", "spanId", "parentSpanId") else _otlp_json(item)
            for key, item in value.items()
        }
    return [_otlp_json(item) for item in value] if isinstance(value, list) else value


class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """`async with TraceReceiver() as receiver:` listens on `receiver.endpoint` (loopback) until the block ends."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.not_kept = 0
        self.endpoint = ""
        self._batches: list[trace_pb2.ResourceSpans] = []
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        server = grpc.aio.server()
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]  # generated
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._server = server
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        await self._server.stop(0.5)

    async def Export(self, request: Any, context: Any) -> Any:
        """Take a batch."""
        del context
        for batch in request.resource_spans:
            self._keep(batch)
        return trace_service_pb2.ExportTraceServiceResponse()

    def _keep(self, batch: trace_pb2.ResourceSpans) -> None:
        service = str(_attributes(batch.resource.attributes).get("service.name", ""))
        spans = [span for scope in batch.scope_spans for span in scope.spans]
        if len(self.spans) + len(spans) > MAX_SPANS:
            self.not_kept += len(spans)
            return
        self._batches.append(batch)
        self.spans += [
            ReceivedSpan(
                service=service,
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_span_id=span.parent_span_id.hex(),
                start_ns=span.start_time_unix_nano,
                end_ns=span.end_time_unix_nano,
                ok=span.status.code != trace_pb2.Status.STATUS_CODE_ERROR,
                attributes=_attributes(span.attributes),
                events=tuple(event.name for event in span.events),
            )
            for span in spans
        ]

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """All spans of one trace, in order of their start."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start_ns)

    def write(self, path: Path) -> None:
        """Write all that was kept as OTLP JSON, which trace viewers read."""
        path.write_text(json.dumps({"resourceSpans": [_otlp_json(MessageToDict(batch)) for batch in self._batches]}, indent=1) + "\n")
