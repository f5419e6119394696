"""The line over gRPC. The one module of the library that knows grpc and generated messages; imported only when used."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from avatar_relay import wire
from avatar_relay.addresses import is_loopback
from avatar_relay.backoff import FINAL_CODES
from avatar_relay.credentials import clean_token, metadata_of
from avatar_relay.forward_proxy import host_of, proxy_note, proxy_option
from avatar_relay.grpc_client import CHANNEL_OPTIONS, fault_of
from avatar_relay.messages import FromPublisher, Joined, ToPublisher, UnknownEvent
from avatar_relay.publisher.errors import ConnectionLostError, UnsendableError
from avatar_relay.v1 import publisher_service_pb2_grpc as services

logger = logging.getLogger(__name__)


class GrpcLink:
    """One `Publish` stream on a channel of its own."""

    def __init__(self, address: str, channel: grpc.aio.Channel, token: str | None = None) -> None:
        self._address = address
        self._channel = channel
        self._call: Any = services.PublisherServiceStub(channel).Publish(metadata=metadata_of(token))
        self._unknown_messages = 0

    async def send(self, message: FromPublisher | Joined) -> None:
        """See `RelayLink`. Waits while HTTP/2 takes no more."""
        try:
            await self._call.write(_encode(message))
        except (grpc.RpcError, grpc.aio.UsageError, grpc.aio.InternalError, asyncio.InvalidStateError) as error:
            raise await self._lost(error) from error

    async def receive(self) -> ToPublisher | None:
        """See `RelayLink`. What this version does not know is counted and skipped."""
        while True:
            try:
                response = await self._call.read()
                if response is grpc.aio.EOF:
                    await self._check_status()
                    return None
                message = wire.publish_response_from_wire(response)
            except grpc.RpcError as error:
                raise await self._lost(error) from error
            except wire.WireError as error:
                raise ConnectionLostError(f"the relay at {self._address} broke the protocol: {error}", fault=error.fault) from error
            if message is None or isinstance(message, UnknownEvent):
                self._unknown_messages += 1
                if self._unknown_messages == 1:
                    logger.warning("the relay at %s says things that this version does not know", self._address)
            if message is not None:
                return message

    async def close(self) -> None:
        """End the stream and its channel."""
        self._call.cancel()
        await self._channel.close()

    async def _check_status(self) -> None:
        """Raise where the stream's status says that it did not end in order."""
        if await self._call.code() is not grpc.StatusCode.OK:
            raise await self._lost(None)

    async def _lost(self, error: BaseException | None) -> ConnectionLostError:
        if not self._call.done():
            return ConnectionLostError(f"the stream to the relay at {self._address} broke: {error}")
        code, text = await self._call.code(), await self._call.details()
        fault = fault_of(code.name, text, await self._call.trailing_metadata())
        what = f"{fault.reason}: {fault.text}" if fault is not None else f"{code.name}: {text}"
        what += proxy_note(self._address, os.environ) if code is grpc.StatusCode.UNAVAILABLE and fault is None else ""
        # ABORTED: another stream of this publisher took over. Without our fault a proxy on the way made the status, and that may pass
        final = fault is not None and (code.name in FINAL_CODES or code is grpc.StatusCode.ABORTED)
        return ConnectionLostError(f"the relay at {self._address}: {what}", final=final, fault=fault)


async def open_grpc_link(address: str, credentials: grpc.ChannelCredentials | None, token: str | Path | None = None) -> GrpcLink:
    """Open a stream to HOST:PORT. Never raises for the relay's absence: the first message tells.

    Raises a final `ConnectionLostError` where the token can not be read, or would leave this machine in plaintext.
    """
    shown = _read_token(token)
    if shown is not None and credentials is None and not is_loopback(host_of(address)):
        raise ConnectionLostError(
            "a token does not travel in plaintext: give credentials, such as grpc.ssl_channel_credentials()", final=True
        )
    options = (*CHANNEL_OPTIONS, *proxy_option(address))
    if credentials is None:
        return GrpcLink(address, grpc.aio.insecure_channel(address, options), shown)
    return GrpcLink(address, grpc.aio.secure_channel(address, credentials, options), shown)


def _encode(message: FromPublisher | Joined) -> Any:
    """The message of the wire. Raises `UnsendableError` with the one of several that can not be encoded."""
    try:
        return wire.publish_request_to_wire(message)
    except Exception as error:
        messages = message.messages if isinstance(message, Joined) else (message,)
        at = next((index for index, one in enumerate(messages) if not _is_encodable(one)), 0)
        raise UnsendableError(messages[at], messages[:at] + messages[at + 1 :]) from error


def _is_encodable(message: FromPublisher) -> bool:
    try:
        wire.publish_request_to_wire(message)
    except Exception:
        return False
    return True


def _read_token(token: str | Path | None) -> str | None:
    try:
        return None if token is None else clean_token(token if isinstance(token, str) else token.read_text(errors="replace"))
    except OSError as error:
        raise ConnectionLostError(f"token: {token} can not be read: {error.strerror}", final=True) from error
    except ValueError as error:
        raise ConnectionLostError(f"token: {token if isinstance(token, Path) else 'the text'} {error}", final=True) from None
