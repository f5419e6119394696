"""One `Attach` call over gRPC, in plain messages: the only place of the client that knows gRPC.

Faults come out as values: how a stream ended (`StreamEnd`), a message that cannot be read (`AttachRefused`). A channel is made
for each call, with a connection pool of its own: gRPC's hidden reconnect timer would otherwise stretch our waits. HTTP/2
keepalive stays off: our own heartbeat finds a dead peer sooner, and a server may answer eager pings with `too_many_pings`.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from avatar_relay import messages as m
from avatar_relay.bounded_log import plain
from avatar_relay.client_credentials import Credentials
from avatar_relay.credentials import metadata_of
from avatar_relay.forward_proxy import proxy_note, proxy_option
from avatar_relay.grpc_client import CHANNEL_OPTIONS, fault_of
from avatar_relay.grpc_sending import send_serialized
from avatar_relay.limits import MAX_DEVICE_MESSAGE_PAYLOADS
from avatar_relay.media import Credit
from avatar_relay.request_limit import RequestLimit
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.v1 import media_pb2
from avatar_relay.wire import (
    UNCOUNTED_BYTES,
    WireError,
    attach_request_to_wire,
    attach_response_from_wire,
    attach_responses_in,
    check_entries,
)
from edge_client.link.retry import StreamEnd

_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.keepalive_time_ms", 2**31 - 1), ("grpc.enable_retries", 0))
_ATTACH = f"/{pb.DESCRIPTOR.services_by_name['DeviceService'].full_name}/Attach"
_COUNTED = (m.Pong, m.Welcome)
MAX_RELAY_TEXT = 300
"""Characters of what a relay says that are shown and logged."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the relay is, plaintext where `tls` is False; `credentials` is asked for each stream."""

    address: str
    tls: bool = False
    credentials: Callable[[], Credentials] = Credentials
    others: tuple[str, ...] = ()
    """Relays that serve as well."""
    certificate_name: str = ""
    """The name that the relay's certificate has, where it is not the address's host."""

    @property
    def name_option(self) -> tuple[tuple[str, str], ...]:
        """The channel option that asks for that name."""
        return (("grpc.ssl_target_name_override", self.certificate_name),) if self.certificate_name else ()


@dataclass(frozen=True, slots=True)
class AttachRefused:
    """A message that breaks the contract, and the credit that its payloads cost."""

    error: WireError
    credit: Credit


class AttachCall:
    """An open call; leaving the `async with` cancels it and closes its channel. One reader, one writer."""

    def __init__(self, endpoint: Endpoint, limit: RequestLimit | None = None) -> None:
        """`limit` is what earlier calls learned."""
        self._endpoint = endpoint
        self._limit = limit or RequestLimit()

    async def __aenter__(self) -> Self:
        credentials = self._endpoint.credentials()
        self._limit.begin()
        self._channel = _open_channel(self._endpoint, credentials)
        self._call: Any = self._channel.stream_stream(_ATTACH)(metadata=metadata_of(credentials.token))
        self._came: deque[m.ToDevice | AttachRefused | StreamEnd | None] = deque()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await self._channel.close()

    async def write(self, *messages: m.ToRelayFromDevice) -> bool:
        """Send a message, or several as one; False if the stream is over, which the reader learns with its reason."""
        data = attach_request_to_wire(*messages).SerializeToString()
        if self._limit.counts:
            self._limit.sent(len(data), ping_id=messages[-1].ping_id if isinstance(messages[-1], m.Ping) else None)
        return await send_serialized(self._call, data)

    async def done_writing(self) -> None:
        """Close our half; nothing happens where the stream is over."""
        with contextlib.suppress(grpc.aio.InternalError):
            await self._call.done_writing()

    async def read(self) -> m.ToDevice | AttachRefused | StreamEnd | None:
        """The next message; None for one that this version does not know. Cancelling ends the stream."""
        while True:
            try:
                while not self._came:
                    response = await self._call.read()
                    if response is grpc.aio.EOF:
                        return self._stream_end(await self._call.code(), await self._call.details(), await self._call.trailing_metadata())
                    self._came.extend(_messages_in(response))
            except grpc.aio.AioRpcError as error:
                return self._stream_end(error.code(), error.details(), error.trailing_metadata())
            message = self._came.popleft()
            if not (isinstance(message, _COUNTED) and self._limit.counts and await self._is_of_a_probe(message)):
                return message

    async def _is_of_a_probe(self, message: object) -> bool:
        if isinstance(message, m.Welcome):
            self._limit.welcomed()
            for ping in self._limit.probes:
                if not await self.write(ping):
                    break
        return isinstance(message, m.Pong) and self._limit.answered(message.ping_id)

    def _stream_end(self, code: grpc.StatusCode, text: str | None, trailers: Any) -> StreamEnd:
        note = proxy_note(self._endpoint.address, os.environ) if code is grpc.StatusCode.UNAVAILABLE else ""
        said = plain(text or "the relay ended the stream", MAX_RELAY_TEXT) + note
        fault = fault_of(code.name, text, trailers)
        in_the_way = self._limit.ended(text or "") if fault is None else ""
        return StreamEnd(code.name, in_the_way or said, fault=fault, hopeless=bool(in_the_way))


def _open_channel(endpoint: Endpoint, shown: Credentials) -> grpc.aio.Channel:
    options = (*_OPTIONS, *proxy_option(endpoint.address), *endpoint.name_option)
    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.address, options=options)
    credentials = grpc.ssl_channel_credentials(shown.root_certificates, shown.key, shown.certificate)
    return grpc.aio.secure_channel(endpoint.address, credentials, options=options)


def _messages_in(data: bytes) -> list[m.ToDevice | AttachRefused | StreamEnd | None]:
    """Read what came as one message. One that would fill the memory ends the stream before it is parsed."""
    try:
        if len(data) > UNCOUNTED_BYTES:
            check_entries(data, MAX_DEVICE_MESSAGE_PAYLOADS)
        return [_message_in(response) for response in attach_responses_in(pb.AttachResponse.FromString(data))]
    except WireError as error:
        return [StreamEnd("INTERNAL", f"the relay sent an unacceptable message: {error.fault.text}")]
    except DecodeError:
        return [StreamEnd("INTERNAL", "the relay sent bytes that are not a message")]


def _message_in(response: pb.AttachResponse) -> m.ToDevice | AttachRefused | None:
    try:
        return attach_response_from_wire(response)
    except WireError as error:
        return AttachRefused(error, _credit_of(response))


def _credit_of(response: pb.AttachResponse) -> Credit:
    audio = motion = 0
    for payload in response.media.payloads:
        if payload.kind == media_pb2.KIND_MOTION:
            motion += len(payload.data)
        else:
            audio += len(payload.data)
    return Credit(audio, motion)
