"""A stand-in for a collector: takes what OpenTelemetry exports over gRPC, traces and metrics, and keeps the bytes as they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

SIGNALS = ("trace", "metrics")


class Collector:
    """`async with collector.listening() as endpoint:` on loopback."""

    def __init__(self) -> None:
        self.taken: dict[str, list[bytes]] = {signal: [] for signal in SIGNALS}
        self._took = asyncio.Event()

    def all(self, signal: str) -> bytes:
        """All that came of one signal so far."""
        return b"".join(self.taken[signal])

    async def has(self, text: bytes, within_s: float) -> None:
        """Wait until this was exported. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while not any(text in self.all(signal) for signal in SIGNALS):
                self._took.clear()
                await self._took.wait()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address, for OTEL_EXPORTER_OTLP_ENDPOINT."""
        server = grpc.aio.server()
        for signal, service in zip(SIGNALS, ("trace.v1.TraceService", "metrics.v1.MetricsService"), strict=True):
            handlers: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(self._taker(signal))}
            name = f"opentelemetry.proto.collector.{service}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield f"http://127.0.0.1:{port}"
        await server.stop(None)

    def _taker(self, signal: str) -> Any:
        async def export(data: bytes, _: Any) -> bytes:
            self.taken[signal].append(data)
            self._took.set()
            return b""

        return export
