"""The link over gRPC. The only module of the library that imports grpc and generated messages; imported only when used."""

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
from avatar_relay.backoff import FINAL_CODES, is_foreign
from avatar_relay.credentials import clean_token, metadata_of
from avatar_relay.errors import ConfigError
from avatar_relay.forward_proxy import host_of, proxy_note, proxy_option
from avatar_relay.grpc_client import CHANNEL_OPTIONS, fault_of
from avatar_relay.grpc_sending import send_serialized
from avatar_relay.messages import FromPublisher, Joined, Media, Ping, Pong, PublisherWelcome, ToPublisher, UnknownEvent
from avatar_relay.pem import read_token
from avatar_relay.publisher.errors import ConnectionLostError, UnsendableError
from avatar_relay.publisher.name_lookup import NameLookup
from avatar_relay.relay_list import RelayList
from avatar_relay.request_limit import RequestLimit
from avatar_relay.v1 import publisher_service_pb2_grpc as services

_COUNTED = (Pong, PublisherWelcome)
STATUS_S = 1.0
"""Time limit for the status of a stream that can no longer be written to."""

logger = logging.getLogger(__name__)


class GrpcLink:
    """One `Publish` stream on its own channel."""

    def __init__(self, address: str, channel: grpc.aio.Channel, limit: RequestLimit, token: str | None = None) -> None:
        self._address = address
        self._channel = channel
        self._limit = limit
        limit.begin()
        self._call: Any = services.PublisherServiceStub(channel).Publish(metadata=metadata_of(token))
        self._unknown_messages = 0

    async def send(self, message: FromPublisher | Joined) -> None:
        """See `RelayLink`. Waits while HTTP/2 accepts no more."""
        data = _encode(message)
        if self._limit.counts:
            self._count_sent(message, len(data))
        if not await send_serialized(self._call, data):
            raise await self._lost(None)

    async def receive(self) -> ToPublisher | None:
        """See `RelayLink`. Unknown messages are counted and skipped."""
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
                    logger.warning("the relay at %s sends messages that this version does not know", self._address)
            if message is not None and not (isinstance(message, _COUNTED) and self._limit.counts and await self._is_of_a_probe(message)):
                return message

    def _count_sent(self, message: FromPublisher | Joined, size: int) -> None:
        said = message.messages if isinstance(message, Joined) else (message,)
        ping_id = next((one.ping_id for one in said if isinstance(one, Ping)), None)
        self._limit.sent(size, ping_id=ping_id, media=any(isinstance(one, Media) for one in said))

    async def _is_of_a_probe(self, message: ToPublisher) -> bool:
        """Whether the message answers a probe. No other task writes before `welcome` is returned."""
        if isinstance(message, PublisherWelcome):
            self._limit.welcomed(sum(taken.cursor.audio_seq + taken.cursor.motion_seq for taken in message.taken))
            for ping in self._limit.probes:
                await self.send(ping)
        return isinstance(message, Pong) and self._limit.answered(message.ping_id)

    async def close(self) -> None:
        """End the stream and its channel."""
        self._call.cancel()
        await self._channel.close()

    async def _check_status(self) -> None:
        """Raise `ConnectionLostError` if the stream did not end with OK."""
        if await self._call.code() is not grpc.StatusCode.OK:
            raise await self._lost(None)

    async def _lost(self, error: BaseException | None) -> ConnectionLostError:
        """The cause of the stream's end. Waits for its status, which follows at once when nothing can be sent any more."""
        try:
            async with asyncio.timeout(STATUS_S):
                code, text = await self._call.code(), await self._call.details()
        except TimeoutError:
            return ConnectionLostError(f"the stream to the relay at {self._address} broke: {error}")
        fault = fault_of(code.name, text, await self._call.trailing_metadata())
        what = f"{fault.reason}: {fault.text}" if fault is not None else f"{code.name}: {text}"
        what += proxy_note(self._address, os.environ) if code is grpc.StatusCode.UNAVAILABLE and fault is None else ""
        in_the_way = self._limit.ended(text or "") if fault is None else ""
        # ABORTED: another stream of this publisher took over. A status without our fault is from a proxy on the way, and may be temporary
        final = bool(in_the_way) or (fault is not None and (code.name in FINAL_CODES or code is grpc.StatusCode.ABORTED))
        foreign = fault is None and is_foreign(code.name, text or "")
        return ConnectionLostError(f"the relay at {self._address}: {in_the_way or what}", final=final, fault=fault, foreign=foreign)


class GrpcConnector:
    """Opens streams to the current relay of a list; what one learned about its relay is kept for the next."""

    def __init__(self, relays: RelayList, credentials: grpc.ChannelCredentials | None, token: str | Path | None) -> None:
        self._relays = relays
        self._credentials = credentials
        self._token = token
        self._last_token: str | None = None
        self._is_stale = False
        """The last read failed, which has been logged."""
        self._names: dict[str, NameLookup] = {}
        self._limits: dict[str, RequestLimit] = {}

    async def open(self) -> GrpcLink:
        """Open a stream on its own channel. Does not raise if the relay is unreachable: the first message does.

        If the token cannot be read, the last one remains in use. Raises `ConnectionLostError` if the relay's name is not found; a final one
        if there is no token yet, or it would leave this machine in plaintext.
        """
        address, token = self._relays.address, self._current_token()
        if token is not None and self._credentials is None and not is_loopback(host_of(address)):
            raise ConnectionLostError(
                "tokens are not sent in plaintext: give credentials, such as grpc.ssl_channel_credentials()", final=True
            )
        target, target_options = await self._names.setdefault(address, NameLookup(address)).target()
        options = (*CHANNEL_OPTIONS, *proxy_option(address), *target_options)
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(target, options)
        else:
            channel = grpc.aio.secure_channel(target, self._credentials, options)
        return GrpcLink(address, channel, self._limits.setdefault(address, RequestLimit()), token)

    def _current_token(self) -> str | None:
        try:
            self._last_token, self._is_stale = _read_token(self._token), False
        except ConnectionLostError as error:
            if self._last_token is None:
                raise
            if not self._is_stale:
                logger.warning("the previous token stays in effect: %s", error)
            self._is_stale = True
        return self._last_token


def _encode(message: FromPublisher | Joined) -> bytes:
    """Encode the message for the wire. Raises `UnsendableError` with the first of several messages that cannot be encoded."""
    try:
        data: bytes = wire.publish_request_to_wire(message).SerializeToString()
        return data
    except Exception as error:
        if not isinstance(message, Joined):
            raise UnsendableError(message, ()) from error
        for at, one in enumerate(message.messages):
            try:
                _encode(one)
            except UnsendableError as its:
                raise UnsendableError(one, message.messages[:at] + message.messages[at + 1 :]) from its.__cause__
        raise UnsendableError(message.messages[0], message.messages[1:]) from error


def _read_token(token: str | Path | None) -> str | None:
    try:
        return read_token("token", token) if isinstance(token, Path) else None if token is None else clean_token(token)
    except ConfigError as error:
        raise ConnectionLostError(str(error), final=True) from error
    except ValueError as error:
        raise ConnectionLostError(f"token: the text {error}", final=True) from None
