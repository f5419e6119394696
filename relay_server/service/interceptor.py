"""Server interceptor for all RPCs: admits the caller, then reads and parses its requests.

gRPC reads a unary request before any interceptor's handler runs, so that partial requests of unknown callers could fill the memory, and
answers unparsable bytes with UNKNOWN and a traceback. Here every handler is request-streaming for gRPC; the wire format is the same.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from functools import partial
from traceback import clear_frames
from typing import Any

import grpc

from avatar_relay.errors import FaultError
from relay_server.access.caller import AdmittedAs
from relay_server.access.connection_rules import MAX_METADATA_BYTES
from relay_server.access.peers import host_of
from relay_server.rpc_errors import Context, abort, until_cancelled
from relay_server.service.calls import as_is
from relay_server.service.connection_watch import ConnectionWatch
from relay_server.service.garbage import Garbage
from relay_server.service.requests import RequestReader, parse_request
from relay_server.service.streams import FIRST_READ

CLOSES_WITHIN_S = 1.0
"""Time in which gRPC cancels the RPCs of a connection that was shut down."""
Admit = Callable[[str, Context], AbstractAsyncContextManager[AdmittedAs]]
"""Context manager that admits the caller of a method, or aborts the RPC; yields the name by which its requests are counted."""


@asynccontextmanager
async def admit_everybody(_method: str, context: Context) -> AsyncIterator[AdmittedAs]:
    """Admit all callers, for a relay without an access file; they are counted by address."""
    yield AdmittedAs(host_of(context.peer()), known=True)


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler as a stream of bytes, called after admission. Belongs to one event loop."""

    def __init__(self, admit: Admit, reader: RequestReader, watch: ConnectionWatch) -> None:
        """`watch` counts each RPC for its connection, and ends the connection of an unadmitted caller that begins too many."""
        self._admit = admit
        self._reader = reader
        self._watch = watch
        self._garbage = Garbage()

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of an RPC, wrapped in admission. Calls of unknown methods are counted too."""
        handler = await continuation(details)
        method, metadata_bytes = details.method, _size(details.invocation_metadata or ())

        async def call(_requests: object, context: Context) -> None:
            if not self._watch.begin(context.peer(), metadata_bytes):
                if metadata_bytes > MAX_METADATA_BYTES:
                    self._garbage.refused(metadata_bytes)
                await until_cancelled(CLOSES_WITHIN_S)
                context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
                return
            try:
                if handler is None:
                    await until_cancelled()
                    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method here")
                await self._admitted(handler, context, method)
            except grpc.aio.AbortError as error:  # gRPC keeps it with the RPC, which its frames reference, and raises it again itself
                clear_frames(error.__traceback__)
                error.__traceback__ = error.__context__ = None
            finally:
                self._garbage.other_ended()

        serializer = None if handler is None or handler.response_serializer is as_is else handler.response_serializer
        return grpc.stream_stream_rpc_method_handler(call, None, serializer)  # None: gRPC makes no call for it

    async def _admitted(self, handler: Any, context: Context, method: str) -> None:
        async with self._admit(method, context) as caller:
            if not caller.known:
                await until_cancelled()
            with self._watch.known(context.peer()) if caller.known else nullcontext():
                fault = None
                try:
                    await self._perform(handler, context, method, caller.name)
                except FaultError as error:
                    fault = error.fault
                    clear_frames(error.__traceback__)  # they hold the request, and each other: megabytes until the next collection
                if fault is not None:
                    await abort(context, fault)

    async def _perform(self, handler: Any, context: Context, method: str, caller: str) -> None:
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        if not handler.request_streaming:
            data = await self._reader.read_single(context, caller)
            await _respond(behaviour(parse_request(handler.request_deserializer, data, method), context), handler, context)
        elif handler.request_deserializer is as_is:
            FIRST_READ.set(partial(self._reader.read_first, caller=caller))
            try:
                await behaviour(None, context)  # our own streams read and bound their messages themselves
            finally:
                self._garbage.stream_ended()
        else:
            async with aclosing(self._parsed(handler.request_deserializer, context, method, caller)) as requests:
                await _respond(behaviour(requests, context), handler, context)

    async def _parsed(self, deserialize: Callable[[bytes], Any], context: Context, method: str, caller: str) -> AsyncGenerator[Any, None]:
        async with aclosing(self._reader.read_stream(context, caller)) as stream:
            async for data in stream:
                yield parse_request(deserialize, data, method)


def _size(metadata: Iterable[tuple[str, str | bytes]]) -> int:
    """Its size as HTTP/2 defines it, with 32 bytes for each entry."""
    return sum([len(key) + len(value) + 32 for key, value in metadata])


async def _respond(answer: Any, handler: Any, context: Context) -> None:
    """Send the responses: those of a generator, or the one of a coroutine. A streaming coroutine writes its responses itself."""
    if inspect.isasyncgen(answer):
        async with aclosing(answer):
            async for response in answer:
                await context.write(response)
        return
    response = await answer
    if not handler.response_streaming and context.code() in (None, grpc.StatusCode.OK):
        await context.write(response)
