"""Handlers made by hand, because requests are parsed and media is encoded by us, not by grpc.

Parsed by us: grpc answers bytes that are no message with UNKNOWN or INTERNAL, although it is the caller's fault, and its
own size limit comes without our reason. Encoded by us: media leaves in the bytes that it came in, and where it does not leave whole,
a payload is serialized once and spliced into the message of each device that gets it.
Errors of requests (`FaultError`) become the RPC's status in `RequestInterceptor`, which stands before all handlers.
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
    """Read a message of at most so many bytes. Raises `PeerError` if it is too large, or none."""
    if len(data) > most:
        check_size(data, most)
    try:
        return type_.FromString(data)
    except DecodeError as error:
        raise PeerError(Fault(Reason.MESSAGE_INVALID, f"cannot parse as {type_.DESCRIPTOR.full_name}")) from error


def bidirectional(behaviour: Callable[[Context], Awaitable[None]]) -> Any:
    """A handler that reads and writes bytes by `context.read` and `context.write`."""

    async def handle(_unused: object, context: Context) -> None:
        await behaviour(context)

    return grpc.stream_stream_rpc_method_handler(handle, as_is, as_is)


def unary(type_: type[Request], behaviour: Callable[[Request], Awaitable[Message]]) -> Any:
    """A handler of one request and one response."""

    async def handle(data: bytes, _context: Context) -> bytes:
        return (await behaviour(parse(type_, data))).SerializeToString()

    return grpc.unary_unary_rpc_method_handler(handle, as_is, as_is)


def server_stream(type_: type[Request], behaviour: Callable[[Request, Callable[[Message], Awaitable[None]]], Awaitable[None]]) -> Any:
    """A handler of one request and many responses, which it hands to the function that it is given."""

    async def handle(data: bytes, context: Context) -> None:
        async def write(response: Message) -> None:
            await context.write(response.SerializeToString())

        await behaviour(parse(type_, data), write)

    return grpc.unary_stream_rpc_method_handler(handle, as_is, as_is)


def service(name: str, handlers: dict[str, Any]) -> Any:
    """The handlers of one service."""
    return grpc.method_handlers_generic_handler(name, handlers)
