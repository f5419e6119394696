"""Reads the requests of unary and server-streaming RPCs, and of foreign services' streams, within bounds of memory and time.

gRPC keeps what has arrived of a request, up to 8 MiB, while a read of it is under way, and nothing but the end of the RPC stops that
read. So few are read at once (`Arrivals`), each has a deadline, and one that takes long makes room for others.
A read that is under way is never cancelled: grpc.aio loses its memory for good (grpc#43360). It ends with its RPC.
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
"""How long a request may take to arrive, its wait for a place included."""
FIRST_WAITING_PER_CALLER = 1_024
"""Streams that wait with their first message: all devices of a site come back at once, and on an open relay they are one caller."""
HURRIED_AFTER_S = 0.25
"""A request that takes longer than this gives its place to others that wait."""


class RequestReader:
    """Reads requests; all RPCs of a relay share one. Belongs to one event loop."""

    def __init__(self, within_s: float = REQUEST_WITHIN_S, hurried_after_s: float = HURRIED_AFTER_S) -> None:
        self._within_s = within_s
        self._hurried_after_s = hurried_after_s
        self._single, self._streamed, self._first = Arrivals(), Arrivals(), Arrivals(waiting=FIRST_WAITING_PER_CALLER)

    async def read_single(self, context: Context, caller: str) -> bytes:
        """The one request of an RPC.

        Raises `FaultError` if it does not come in time, is too large, or is none or not the only one. Cancellable.
        """
        try:
            async with asyncio.timeout(self._within_s), self._single.place(caller):
                data: bytes = await self._while_unhurried(_only_message(context), self._single, caller)
                return data
        except TimeoutError:
            text = f"the request was not complete within {self._within_s:g} s"
            raise PeerError(Fault(Reason.PEER_SILENT, text, retry_after_ms=RETRY_MS)) from None

    async def read_first(self, context: Context, caller: str) -> Any:
        """The first message of one of our own streams, or EOF. It may take long, unless others wait for its place.

        Raises `FaultError` if it gives way, or too many wait. To be cancelled only with its RPC.
        """
        async with self._first.place(caller):
            return await self._while_unhurried(_read(context), self._first, caller)

    async def read_stream(self, context: Context, caller: str) -> AsyncGenerator[bytes, None]:
        """The requests of a foreign service's stream. It ends with its caller's last request, or after an idle time.

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
        """A stream's next request; EOF where it is idle for too long."""
        try:
            async with asyncio.timeout(self._within_s):
                return await self._while_unhurried(_read(context), self._streamed, caller)
        except (TimeoutError, _HurriedError):
            return grpc.aio.EOF

    async def _while_unhurried(self, reading: Coroutine[Any, Any, Any], arrivals: Arrivals, caller: str) -> Any:
        """What a coroutine reads. It is never cancelled."""
        task = asyncio.create_task(reading)
        task.add_done_callback(_retrieve)
        while not task.done():
            await asyncio.wait({task}, timeout=self._hurried_after_s)
            if not task.done() and arrivals.wanted_from(caller):
                raise _HurriedError
        return task.result()


class _HurriedError(PeerError):
    """Others wait for the place of a request that takes long."""

    def __init__(self) -> None:
        super().__init__(Fault(Reason.LIMIT_REACHED, "the request arrived too slowly while others waited", retry_after_ms=RETRY_MS))


def parse_request(deserialize: Callable[[bytes], Any] | None, data: bytes, method: str) -> Any:
    """A request as its service reads it. Raises `PeerError` if it cannot be parsed."""
    if deserialize is None:
        return data
    try:
        return deserialize(data)
    except Exception as error:  # a foreign service's own function: protobuf alone raises several kinds
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
    """A read that outlives its RPC's handler fails with that RPC, unseen by anybody."""
    if not task.cancelled():
        task.exception()
