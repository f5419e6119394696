"""One `Attach` call over gRPC, in plain messages: the only module of the client that uses gRPC for the link.

Faults are returned as values: how a stream ended (`StreamEnd`), a message that cannot be read (`AttachRefused`). Each call creates its own
channel and connection pool: otherwise gRPC's internal reconnect timer would extend the client's waits. HTTP/2 keepalive stays off: the
client's heartbeat detects a dead peer sooner, and a server may answer frequent pings with `too_many_pings`.
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
"""Maximum length, in characters, of relay texts that are shown and logged."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of the relay, plaintext if `tls` is False; `credentials` is called for each stream."""

    address: str
    tls: bool = False
    credentials: Callable[[], Credentials] = Credentials
    others: tuple[str, ...] = ()
    """Alternative relays."""
    certificate_name: str = ""
    """The name in the relay's certificate, if it is not the host of the address."""

    @property
    def name_option(self) -> tuple[tuple[str, str], ...]:
        """The channel option that expects that name."""
        return (("grpc.ssl_target_name_override", self.certificate_name),) if self.certificate_name else ()


@dataclass(frozen=True, slots=True)
class AttachRefused:
    """A message that violates the contract, and the credit that its payloads consumed."""

    error: WireError
    credit: Credit


class AttachCall:
    """An open call; leaving the `async with` cancels it and closes its channel. One reader, one writer."""

    def __init__(self, endpoint: Endpoint, limit: RequestLimit | None = None) -> None:
        """`limit` is what earlier calls have learned."""
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
        """Send a message, or several as one. Returns False if the stream is over; the reader gets the reason."""
        data = attach_request_to_wire(*messages).SerializeToString()
        if self._limit.counts:
            self._limit.sent(len(data), ping_id=messages[-1].ping_id if isinstance(messages[-1], m.Ping) else None)
        return await send_serialized(self._call, data)

    async def done_writing(self) -> None:
        """Close the sending side; does nothing if the stream is over."""
        with contextlib.suppress(grpc.aio.InternalError):
            await self._call.done_writing()

    async def read(self) -> m.ToDevice | AttachRefused | StreamEnd | None:
        """The next message; None for a message that this version does not know. Cancellation ends the stream."""
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
    """Parse received data as one or several messages. Data that would exhaust the memory ends the stream before it is parsed."""
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
