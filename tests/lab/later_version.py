"""A gRPC proxy that imitates a later version of the protocol: both ends receive unknown fields and messages.

Every second message gets a field that no version has, and every tenth is followed by a message whose `oneof` member is unknown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from avatar_relay.limits import GRPC_MAX_RECEIVE_BYTES

UNKNOWN = b"\xc2\x3e\x05later"
"""Field 1000, length-delimited: protobuf's wire format, "Tags"."""
FIELD_EVERY = 2
MESSAGE_EVERY = 10
_OPTIONS = (("grpc.max_receive_message_length", GRPC_MAX_RECEIVE_BYTES), ("grpc.use_local_subchannel_pool", 1))


class LaterVersion(grpc.GenericRpcHandler):
    """Listens on its own port and forwards streams to the relay at `target` for the duration of the `with` block."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.address = ""
        """Address to connect to."""
        self.unknown_messages = 0
        """Number of unknown messages sent, in both directions."""

    async def __aenter__(self) -> Self:
        self._channel: Any = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.stop(None)
        await self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Handle any method as a bidirectional stream of bytes."""
        return grpc.stream_stream_rpc_method_handler(partial(self._carry, handler_call_details.method))

    async def _carry(
        self, method: str, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        call = self._channel.stream_stream(method)(self._adorned(requests))
        try:
            async for response in self._adorned(call):
                yield response
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", error.trailing_metadata())
        finally:
            call.cancel()

    async def _adorned(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        count = 0
        async for message in messages:
            count += 1
            yield message + UNKNOWN if count % FIELD_EVERY == 0 else message
            if count % MESSAGE_EVERY == 0:
                self.unknown_messages += 1
                yield UNKNOWN
