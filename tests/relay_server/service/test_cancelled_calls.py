"""Calls that their callers reset at once are not answered: grpc.aio leaks each answer that fails (grpc#43360)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from avatar_relay.reasons import Fault, Reason
from relay_server.access.caller import AdmittedAs
from relay_server.access.connection_rules import MAX_METADATA_BYTES, ConnectionRules
from relay_server.rpc_errors import abort
from relay_server.service.connection_watch import ConnectionWatch
from relay_server.service.interceptor import RequestInterceptor
from relay_server.service.requests import RequestReader


class FakeContext:
    """An RPC's context that records its answers."""

    def __init__(self) -> None:
        self.answers = list[object]()

    def peer(self) -> str:
        return "ipv4:192.0.2.1:1"

    def set_code(self, code: object) -> None:
        self.answers.append(code)

    async def abort(self, code: object, *_: object) -> None:
        self.answers.append(code)
        raise grpc.aio.AbortError

    async def read(self) -> Any:
        self.answers.append("read")
        return b""

    async def write(self, message: object) -> None:
        self.answers.append(message)


class Details:
    """What gRPC tells of a call."""

    method = "/service/Method"

    def __init__(self, metadata_bytes: int = 0) -> None:
        self.invocation_metadata = (("x-a", "v" * metadata_bytes),)


@asynccontextmanager
async def admit_stranger(_method: str, _context: object) -> AsyncIterator[AdmittedAs]:
    """As health's `Check` is admitted."""
    yield AdmittedAs("192.0.2.1", known=False)


async def refused(context: Any) -> None:
    await abort(context, Fault(Reason.CREDENTIALS_MISSING, "credentials are needed"))


def intercepted(handler: object, details: Details) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A call through the interceptor to a handler, or to an unknown method."""

    async def found(_details: object) -> Any:
        return handler

    async def call(context: Any) -> None:
        interceptor = RequestInterceptor(admit_stranger, RequestReader(), ConnectionWatch(ConnectionRules(10), lambda: 0))
        wrapped = await interceptor.intercept_service(found, details)  # type: ignore[arg-type]
        await wrapped.stream_stream(None, context)

    return call


HEALTH: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: None)
CALLS = {
    "refused": refused,
    "unknown method": intercepted(None, Details()),
    "health": intercepted(HEALTH, Details()),
    "large metadata": intercepted(HEALTH, Details(MAX_METADATA_BYTES + 1)),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("resets", [True, False])
async def test_a_call_is_answered_unless_it_is_reset_at_once(kind: str, resets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC cancels its handler within a few turns of the loop, here five."""
    monkeypatch.setattr("relay_server.service.interceptor.CLOSES_WITHIN_S", 0.02)
    context = FakeContext()
    task = asyncio.create_task(CALLS[kind](context))
    for _ in range(5):
        await asyncio.sleep(0)
    if resets:
        task.cancel()
    await asyncio.wait([task], timeout=30)
    assert task.cancelled() is resets
    assert bool(context.answers) is not resets
    if not resets:
        task.exception()
