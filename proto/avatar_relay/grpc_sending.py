"""Writes to a stream of grpc.aio, for the device and the publisher library."""

from __future__ import annotations

from typing import Any

import grpc.aio


async def send_serialized(call: Any, data: bytes) -> bool:
    """Send a message; False if the stream is over, whose reader gets the reason.

    Bypasses grpc.aio's own `write`: if that fails because the relay has just ended the stream, it replaces the relay's status by INTERNAL
    and discards unread messages (grpc/grpc#36066), so that "replaced" and "come back in 2 s" get lost.
    """
    if call._cython_call.done():
        return False
    try:
        if not call._metadata_sent.is_set():
            await call.wait_for_connection()
        await call._cython_call.send_serialized_message(data)
    except (grpc.aio.AioRpcError, grpc.aio.InternalError):
        return False
    return True
