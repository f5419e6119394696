"""A relay on a free port, and the other ends of its streams: bare stubs, independent of our clients."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import status_pb2

from avatar_relay import wire
from avatar_relay.media import AS_MOTION_SAYS, Expression, OnPlaying
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import admin_service_pb2_grpc as admin_grpc
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import device_service_pb2_grpc as device_grpc
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.v1 import publisher_service_pb2_grpc as publisher_grpc
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.errors import RequestError
from relay_server.server import RelayServer, serving, unix_time_us
from relay_server.sources.source import NamedSpeech, TextSpeech

PATIENCE_S = 10.0
"""Time limit for messages that must arrive."""
PCM = pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000)
AVATARKIT = pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_AVATARKIT_V2, keyframes_per_second=25)


class FakeClock:
    """A monotonic clock that tests advance."""

    def __init__(self) -> None:
        self.now_us = 1_000_000_000

    def __call__(self) -> int:
        """The time."""
        return self.now_us


@dataclass
class FakeSpeech:
    """Records the requests to speak."""

    said: list[tuple[str, TextSpeech | NamedSpeech, OnPlaying]] = field(default_factory=list)

    async def speak(
        self,
        target: str,
        speech: TextSpeech | NamedSpeech,
        on_playing: OnPlaying,
        *,
        expression: Expression = AS_MOTION_SAYS,
        owner: str = "",
    ) -> tuple[str, str]:
        """Knows one target."""
        if target != "lobby":
            raise RequestError(Fault(Reason.DEVICE_UNKNOWN, f"no {target} here", "target"))
        self.said.append((target, speech, on_playing))
        return "c-spoken", "trace"


class Stream:
    """One end of a stream, with timeouts."""

    def __init__(self, call: Any, request: Any) -> None:
        self.call = call
        self._request = request

    async def say(self, **message: Any) -> None:
        """Send one message."""
        await self.call.write(self._request(**message))

    async def hear(self, name: str) -> Any:
        """Return the next message of this name; answers pings and skips credit and acknowledgements in between."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                response = await self.call.read()
                assert response is not grpc.aio.EOF, f"the stream ended where {name} was expected: {await self.call.code()}"
                said = response.WhichOneof("message")
                if said == name:
                    return getattr(response, said)
                if said == "ping":
                    await self.say(pong={"id": response.ping.id})
                assert said in ("ping", "credit", "event_ack", "held"), f"heard {said} where {name} was expected:\n{response}"

    async def ended(self) -> tuple[grpc.StatusCode, Fault]:
        """Return how the relay ended the stream: status and fault."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            except grpc.aio.AioRpcError:
                pass
            code: grpc.StatusCode = await self.call.code()
            return code, fault_of(await self.call.trailing_metadata())


def fault_of(trailing: Any) -> Fault:
    """Return the fault in an RPC's trailing metadata."""
    details = dict(trailing)["grpc-status-details-bin"]
    return wire.fault_from_status(status_pb2.Status.FromString(details))


class Wired:
    """A listening relay, and a channel to it."""

    def __init__(self, server: RelayServer, address: str, channel: grpc.aio.Channel, clock: FakeClock, speech: FakeSpeech) -> None:
        self.server = server
        self.relay = server.relay
        self.address = address
        self.channel = channel
        self.clock = clock
        self.speech = speech
        self.admin: Any = admin_grpc.AdminServiceStub(channel)

    def device_stream(self) -> Stream:
        """A DeviceService stream that has sent nothing yet."""
        return Stream(device_grpc.DeviceServiceStub(self.channel).Attach(), device_pb.AttachRequest)

    def publisher_stream(self) -> Stream:
        """A PublisherService stream that has sent nothing yet."""
        return Stream(publisher_grpc.PublisherServiceStub(self.channel).Publish(), publisher_pb.PublishRequest)

    async def device(self, device_id: str = "lobby", **more: Any) -> Stream:
        """An attached device."""
        stream = self.device_stream()
        await stream.say(hello=hello(device_id, **more))
        welcome = await stream.hear("welcome")
        stream.token = welcome.session_token  # type: ignore[attr-defined]
        return stream

    async def publisher(self, publisher_id: str = "backend") -> Stream:
        """A publisher that has sent hello."""
        stream = self.publisher_stream()
        await stream.say(hello=publisher_pb.PublisherHello(publisher_id=publisher_id, protocol_version=1))
        welcome = await stream.hear("welcome")
        stream.token = welcome.session_token  # type: ignore[attr-defined]
        return stream

    async def pass_time(self, seconds: float) -> None:
        """Advance the clock, and let the relay process it."""
        self.clock.now_us += round(seconds * 1e6)
        self.relay.tick()


def hello(device_id: str = "lobby", **more: Any) -> device_pb.Hello:
    """The hello of a device that accepts everything, with room for 1 MiB of each kind."""
    said: dict[str, Any] = {
        "device_id": device_id,
        "protocol_version": 1,
        "codecs": [1, 2, 3],
        "output_rate_hz": 48_000,
        "motion_encodings": [1, 2],
        "buffer": pb.Credit(audio_bytes=1 << 20, motion_bytes=1 << 20),
    }
    return device_pb.Hello(**(said | more))


def opening(conversation_id: str = "c1", *targets: str, motion: bool = True, **more: Any) -> publisher_pb.PublishOpen:
    """Open a conversation on `lobby`, or on the given targets."""
    said: dict[str, Any] = {"conversation_id": conversation_id, "audio_format": PCM}
    if motion:
        said["motion_format"] = AVATARKIT
    return publisher_pb.PublishOpen(open=pb.ConversationOpen(**(said | more)), targets=targets or ("lobby",))


def audio(seq: int = 1, data: bytes = b"ab", **more: Any) -> pb.Payload:
    """An audio payload."""
    return pb.Payload(kind=pb.KIND_AUDIO, seq=seq, data=data, **more)


def motion(seq: int = 1, data: bytes = b"mo", pts_us: int | None = 0, **more: Any) -> pb.Payload:
    """A motion payload."""
    return pb.Payload(kind=pb.KIND_MOTION, seq=seq, data=data, pts_us=pts_us, duration_us=40_000, **more)


def media(*payloads: pb.Payload, conversation_id: str = "c1") -> pb.Media:
    """Payloads of a conversation."""
    return pb.Media(conversation_id=conversation_id, payloads=payloads)


def finished(event_id: int = 1, conversation_id: str = "c1", reason: str = "completed") -> pb.PlayerEvent:
    """The final event of a player."""
    body = pb.PlaybackFinished(position_us=5, reason=reason)
    return pb.PlayerEvent(event_id=event_id, conversation_id=conversation_id, finished=body)


@asynccontextmanager
async def wired(config: RelayConfig | None = None) -> AsyncIterator[Wired]:
    """A relay on a free local port, on a clock that tests advance."""
    numbers = iter(range(1, 1 << 30))
    clock, speech = FakeClock(), FakeSpeech()
    relay = Relay(
        config or RelayConfig(listen="127.0.0.1:0"),
        Clocks(clock, unix_time_us),
        random_bytes=lambda count: base64.b16encode(next(numbers).to_bytes(count, "big"))[-count:],
        encode=wire.encode_payload,
    )
    async with serving(relay, speech) as (server, address), grpc.aio.insecure_channel(address) as channel:
        yield Wired(server, address, channel, clock, speech)
