"""What both streaming services share: one task reads, the handler itself writes, and a fault ends both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc

from avatar_relay.reasons import Fault, Reason
from relay_server.errors import PeerError
from relay_server.service.errors import Context, abort

logger = logging.getLogger(__name__)

CANCELLATION_SHOWS_WITHIN_S = 0.1
"""grpc.aio reads EOF also where the peer cancelled or vanished; the handler is cancelled right after that, and the reader
with it. What is still running then was closed in order."""


class Port(Protocol):
    """The relay's side of a stream."""

    fault: Fault | None

    def end(self, fault: Fault | None = None) -> None:
        """End the stream."""
        ...

    def close(self) -> None:
        """The peer is gone."""
        ...


async def carry(
    context: Context,
    port: Port,
    *,
    take: Callable[[bytes], Awaitable[None]],
    following: Callable[[], Awaitable[bytes | None]],
    said_all: Callable[[], None],
    failed: Callable[[Fault], None],
) -> None:
    """Carry a stream until the peer or the relay ends it.

    `take` gets each message and raises `PeerError` where it ends the stream; `following` gives what to write, None at the
    end; `said_all` is called when the peer sends no more; `failed` is told a fault before the RPC ends with it.
    Cancellation (the peer is gone) is passed on.
    """
    reader = asyncio.create_task(_read(context, port, take, said_all))
    try:
        while (message := await following()) is not None:
            await context.write(message)
        fault = port.fault
    finally:
        reader.cancel()
        port.close()
    if fault is not None:
        failed(fault)
        await abort(context, fault)


async def _read(context: Context, port: Port, take: Callable[[bytes], Awaitable[None]], said_all: Callable[[], None]) -> None:
    try:
        while True:
            data: Any = await context.read()
            if data is grpc.aio.EOF:
                await asyncio.sleep(CANCELLATION_SHOWS_WITHIN_S)
                said_all()
                return
            await take(data)
    except PeerError as error:
        port.end(error.fault)
    except asyncio.CancelledError:
        raise
    except grpc.aio.BaseError:
        port.end()  # the stream broke; the handler is cancelled beside this
    except Exception:
        logger.exception("a message could not be handled")
        port.end(Fault(Reason.MESSAGE_INVALID, "the relay could not handle a message; it is logged there"))
