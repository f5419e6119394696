"""Method handlers that parse requests and encode media themselves, instead of grpc.

Parsing: grpc answers unparsable bytes with UNKNOWN or INTERNAL, although it is the caller's fault, and its
own size limit carries no reason of ours. Encoding: media is sent in the bytes in which it arrived; if a message is not sent whole,
each payload is serialized once and spliced into the message for each device.
`RequestInterceptor`, which wraps all handlers, converts request errors (`FaultError`) to the RPC's status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from avatar_relay.errors import PeerError
from avatar_relay.limits import MAX_REQUEST_BYTES
from avatar_relay.reasons import Fault, Reason
from relay_server.rpc_errors import Context

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def as_is(data: bytes) -> bytes:
    """The identity serializer."""
    return data


def check_size(data: bytes, most: int) -> None:
    """Raise `PeerError` if a message is too large."""
    if len(data) > most:
        text = f"a message of {len(data)} bytes; at most {most} are allowed: send smaller ones"
        raise PeerError(Fault(Reason.MESSAGE_TOO_LARGE, text))


def parse(type_: type[Request], data: bytes, most: int = MAX_REQUEST_BYTES) -> Request:
    """Parse a message of at most `most` bytes. Raises `PeerError` if it is too large or cannot be parsed."""
    if len(data) > most:
        check_size(data, most)
    try:
        return type_.FromString(data)
    except DecodeError as error:
        raise PeerError(Fault(Reason.MESSAGE_INVALID, f"cannot parse as {type_.DESCRIPTOR.full_name}")) from error


def bidirectional(behaviour: Callable[[Context], Awaitable[None]]) -> Any:
    """A bidirectional handler that reads and writes bytes by `context.read` and `context.write`."""

    async def handle(_unused: object, context: Context) -> None:
        await behaviour(context)

    return grpc.stream_stream_rpc_method_handler(handle, as_is, as_is)


def unary(type_: type[Request], behaviour: Callable[[Request], Awaitable[Message]]) -> Any:
    """A handler with one request and one response."""

    async def handle(data: bytes, _context: Context) -> bytes:
        return (await behaviour(parse(type_, data))).SerializeToString()

    return grpc.unary_unary_rpc_method_handler(handle, as_is, as_is)


def server_stream(type_: type[Request], behaviour: Callable[[Request, Callable[[Message], Awaitable[None]]], Awaitable[None]]) -> Any:
    """A handler with one request and many responses; `behaviour` is given a function that writes a response."""

    async def handle(data: bytes, context: Context) -> None:
        async def write(response: Message) -> None:
            await context.write(response.SerializeToString())

        await behaviour(parse(type_, data), write)

    return grpc.unary_stream_rpc_method_handler(handle, as_is, as_is)


def service(name: str, handlers: dict[str, Any]) -> Any:
    """The generic handler of one service, from its method handlers by name."""
    return grpc.method_handlers_generic_handler(name, handlers)
