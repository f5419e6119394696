"""Reads requests of unary and server-streaming RPCs, and of third-party services' streams, with bounded memory and time.

gRPC buffers up to 8 MiB of a partly received request during a read, and only the end of the RPC stops that
read. So few requests are read at once (`Arrivals`), each has a deadline, and a slow one gives way to others.
A pending read is never cancelled, because grpc.aio would leak its memory (grpc#43360). It ends with its RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import grpc

from avatar_relay.errors import PeerError
from avatar_relay.limits import MAX_REQUEST_BYTES
from avatar_relay.reasons import Fault, Reason
from relay_server.rpc_errors import Context
from relay_server.service.arrivals import RETRY_MS, Arrivals
from relay_server.service.calls import check_size
from relay_server.service.streams import CANCELLATION_SHOWS_WITHIN_S

REQUEST_WITHIN_S = 5.0
"""How long a request may take to arrive, including its wait for a place."""
FIRST_WAITING_PER_CALLER = 1_024
"""Limit on streams waiting for their first read: all devices of a site may reconnect at once, as one caller without access control."""
HURRIED_AFTER_S = 0.25
"""A request that takes longer than this gives way to others that wait."""


class RequestReader:
    """Reads requests; shared by all RPCs of a relay. Belongs to one event loop."""

    def __init__(self, within_s: float = REQUEST_WITHIN_S, hurried_after_s: float = HURRIED_AFTER_S) -> None:
        self._within_s = within_s
        self._hurried_after_s = hurried_after_s
        self._single, self._streamed, self._first = Arrivals(), Arrivals(), Arrivals(waiting=FIRST_WAITING_PER_CALLER)

    async def read_single(self, context: Context, caller: str) -> bytes:
        """Read the single request of an RPC.

        Raises `FaultError` if it is late or too large, or if there is not exactly one. Cancellable.
        """
        try:
            async with asyncio.timeout(self._within_s), self._single.place(caller):
                data: bytes = await self._while_unhurried(_only_message(context), self._single, caller)
                return data
        except TimeoutError:
            text = f"the request was not complete within {self._within_s:g} s"
            raise PeerError(Fault(Reason.PEER_SILENT, text, retry_after_ms=RETRY_MS)) from None

    async def read_first(self, context: Context, caller: str) -> Any:
        """Read the first message of one of the relay's own streams, or EOF. There is no deadline unless others wait for its place.

        Raises `FaultError` if it gives way to others, or too many wait. Cancel it only with its RPC.
        """
        async with self._first.place(caller):
            return await self._while_unhurried(_read(context), self._first, caller)

    async def read_stream(self, context: Context, caller: str) -> AsyncGenerator[bytes, None]:
        """Read the requests of a third-party service's stream. Ends after its caller's last request, or when idle for too long.

        Raises `FaultError` if a request is too large, or too many streams are open. Cancellable.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._within_s):
                    await stack.enter_async_context(self._streamed.place(caller))
            except TimeoutError:
                raise PeerError(Fault(Reason.LIMIT_REACHED, "too many streams of this kind are open", retry_after_ms=RETRY_MS)) from None
            while (data := await self._next(context, caller)) is not grpc.aio.EOF:
                check_size(data, MAX_REQUEST_BYTES)
                yield data

    async def _next(self, context: Context, caller: str) -> Any:
        """A stream's next request; EOF if it is idle for too long."""
        try:
            async with asyncio.timeout(self._within_s):
                return await self._while_unhurried(_read(context), self._streamed, caller)
        except (TimeoutError, _HurriedError):
            return grpc.aio.EOF

    async def _while_unhurried(self, reading: Coroutine[Any, Any, Any], arrivals: Arrivals, caller: str) -> Any:
        """The result of a read, which is never cancelled. Raises `_HurriedError` if it is slow while others wait."""
        task = asyncio.create_task(reading)
        task.add_done_callback(_retrieve)
        while not task.done():
            await asyncio.wait({task}, timeout=self._hurried_after_s)
            if not task.done() and arrivals.wanted_from(caller):
                raise _HurriedError
        return task.result()


class _HurriedError(PeerError):
    """A slow request gave way to others that waited for its place."""

    def __init__(self) -> None:
        super().__init__(Fault(Reason.LIMIT_REACHED, "the request arrived too slowly while others waited", retry_after_ms=RETRY_MS))


def parse_request(deserialize: Callable[[bytes], Any] | None, data: bytes, method: str) -> Any:
    """Parse a request with its service's function. Raises `PeerError` if it cannot be parsed."""
    if deserialize is None:
        return data
    try:
        return deserialize(data)
    except Exception as error:  # a third-party service's own function: protobuf alone raises several types
        raise PeerError(Fault(Reason.MESSAGE_INVALID, f"the request of {method} is not a valid message")) from error


async def _read(context: Context) -> Any:
    return await context.read()


async def _only_message(context: Context) -> bytes:
    data: Any = await context.read()
    if data is grpc.aio.EOF:
        await asyncio.sleep(CANCELLATION_SHOWS_WITHIN_S)
        raise PeerError(Fault(Reason.MESSAGE_INVALID, "the request is missing: send one message, then close"))
    check_size(data, MAX_REQUEST_BYTES)
    if await context.read() is not grpc.aio.EOF:
        raise PeerError(Fault(Reason.MESSAGE_INVALID, "more than one request: send one message, then close"))
    return bytes(data)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a read that outlives its RPC's handler, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
