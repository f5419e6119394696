"""How the device and the publisher library write to a stream of grpc.aio."""

from __future__ import annotations

from typing import Any

import grpc.aio


async def send_serialized(call: Any, data: bytes) -> bool:
    """Send a message; False if the stream is over, which its reader learns with the reason.

    Past grpc.aio's own `write`: where that fails because the relay has just ended the stream, it puts INTERNAL in place
    of the relay's status and forgets what was not read yet (grpc/grpc#36066), so "replaced" and "come back in 2 s" get lost.
    """
    if call.done():
        return False
    try:
        await call.wait_for_connection()
        await call._cython_call.send_serialized_message(data)
    except (grpc.aio.AioRpcError, grpc.aio.InternalError):
        return False
    return True
