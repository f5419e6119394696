"""A device without sound and face: the real protocol, all that comes is used up at once.

It grants credit and tells what it holds as an edge client does, answers pings, tells `started` and `finished` until they
are acknowledged, and comes back with its token and cursors when its stream breaks.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc.aio

from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.v1 import media_pb2 as media

BUFFER_BYTES = 2 << 20
"""What it can take of each kind; an edge client's default."""
REPORT_S = 1.0
"""Credit and cursors are told this often; credit also when much has gathered."""
MUCH_BYTES = BUFFER_BYTES // 2
RETRY_S = 0.2
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 8 << 20), ("grpc.enable_retries", 0))
METHOD = "/avatar_relay.v1.DeviceService/Attach"


class Listener(Protocol):
    """Who is told what comes to a device."""

    def attached(self) -> None:
        """A stream begins. A payload whose last fragment did not come on the one before comes again from its first byte."""
        ...

    def payload(self, conversation_id: str, payload: Any) -> None:
        """A payload or fragment (`avatar_relay.v1.Payload`) came, in the order of the stream."""
        ...

    def ended(self, conversation_id: str, audio_seq: int, motion_seq: int) -> None:
        """All of a conversation is said to have come."""
        ...


@dataclass(slots=True)
class Hearing:
    """A conversation on the device: the last whole payload of each kind."""

    audio_seq: int = 0
    motion_seq: int = 0
    end: Any = None


@dataclass(slots=True)
class Figures:
    """What a device counted."""

    payloads: int = 0
    messages: int = 0
    bytes: int = 0
    attached: int = 0
    resumed: int = 0
    lost_conversations: int = 0
    finished: int = 0
    ended_with: list[str] = field(default_factory=list)
    """Names of the statuses that its streams ended with."""


def open_channel(address: str) -> Any:
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)


class SimulatedDevice:
    """`run` it; `attached` is set while it is attached. `pause_s` is waited after each message: a slow reader. With `ping_s` it says
    something so often, whether it hears anything or not."""

    def __init__(
        self, device_id: str, channel: Any, listener: Listener, *, pause_s: float = 0.0, report_s: float = REPORT_S, ping_s: float = 0.0
    ) -> None:
        self.device_id = device_id
        self.figures = Figures()
        self.attached = asyncio.Event()
        self.pause_s = pause_s
        self._report_s = report_s
        self._ping_s = ping_s
        self._listener = listener
        self._attach = channel.stream_stream(METHOD, None, pb.AttachResponse.FromString)
        self._token = ""
        self._hearing: dict[str, Hearing] = {}
        self._freed = {media.KIND_AUDIO: 0, media.KIND_MOTION: 0}
        self._unreported = False
        self._unacknowledged: dict[int, bytes] = {}
        self._event_id = 0
        self._call: Any = None
        self._writing = asyncio.Lock()

    async def run(self, *, for_ever: bool = True) -> None:
        """Attach, and again whenever the stream ends, until cancelled. Otherwise until the first stream ends."""
        while True:
            try:
                await self._one_stream()
            except grpc.aio.AioRpcError as error:
                self.figures.ended_with.append(error.code().name)
            finally:
                self.attached.clear()
                if self._call is not None:
                    self._call.cancel()
            if not for_ever:
                return
            await asyncio.sleep(RETRY_S)

    def cut(self) -> None:
        """Break the stream, as a network would."""
        if self._call is not None:
            self._call.cancel()

    async def _one_stream(self) -> None:
        self._call = self._attach()
        await self._say(pb.AttachRequest(hello=self._hello()))
        for event in list(self._unacknowledged.values()):
            await self._write(event)
        reporter = asyncio.create_task(self._report_regularly())
        pinging = asyncio.create_task(self._ping_regularly())
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                await self._take(response)
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
            self.figures.ended_with.append((await self._call.code()).name)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # a coroutine runs in a task
                raise
            self.figures.ended_with.append("CUT")
        finally:
            reporter.cancel()
            pinging.cancel()

    def _hello(self) -> pb.Hello:
        self._freed = dict.fromkeys(self._freed, 0)
        buffer = media.Credit(audio_bytes=BUFFER_BYTES, motion_bytes=BUFFER_BYTES)
        return pb.Hello(
            device_id=self.device_id,
            protocol_version=PROTOCOL_VERSION,
            software_version="simulated",
            codecs=[media.AudioFormat.CODEC_PCM_S16LE, media.AudioFormat.CODEC_OPUS],
            output_rate_hz=48_000,
            motion_encodings=[media.MotionFormat.ENCODING_AVATARKIT_V2, media.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS],
            buffer=buffer,
            session_token=self._token,
            cursors=self._cursors() if self._token else [],
        )

    def _cursors(self) -> list[media.Cursor]:
        return [
            media.Cursor(conversation_id=conversation_id, audio_seq=hearing.audio_seq, motion_seq=hearing.motion_seq)
            for conversation_id, hearing in self._hearing.items()
        ]

    async def _take(self, response: pb.AttachResponse) -> None:
        self.figures.messages += 1
        name = response.WhichOneof("message")
        match name:
            case "media":
                self._use(response.media)
                if sum(self._freed.values()) >= MUCH_BYTES:
                    await self._grant()
            case "welcome":
                self._welcomed(response.welcome)
            case "open":
                await self._open(response.open.conversation_id)
            case "end":
                await self._end(response.end)
            case "interrupt":
                await self._finish(response.interrupt.conversation_id, interrupted=True)
            case "ping":
                await self._say(pb.AttachRequest(pong=media.Pong(id=response.ping.id, ping_sent_time_us=response.ping.sent_time_us)))
            case "event_ack":
                for event_id in [known for known in self._unacknowledged if known <= response.event_ack.event_id]:
                    del self._unacknowledged[event_id]

    def _welcomed(self, welcome: pb.Welcome) -> None:
        self.figures.attached += 1
        self.figures.resumed += len(welcome.resumed_conversation_ids)
        self.figures.lost_conversations += len(welcome.lost_conversation_ids)
        if welcome.session_token != self._token:
            self._unacknowledged.clear()
            self._event_id = 0
        for conversation_id in welcome.lost_conversation_ids:
            self._hearing.pop(conversation_id, None)
        self._token = welcome.session_token
        self._listener.attached()
        self.attached.set()

    def _use(self, message: media.Media) -> None:
        hearing = self._hearing.get(message.conversation_id)
        if hearing is None:
            return
        for payload in message.payloads:
            size = len(payload.data)
            self._freed[payload.kind] += size
            self._unreported = True
            self.figures.payloads += 1
            self.figures.bytes += size
            self._listener.payload(message.conversation_id, payload)
            if payload.fragment_offset + size >= payload.total_bytes:
                if payload.kind == media.KIND_AUDIO:
                    hearing.audio_seq = payload.seq
                else:
                    hearing.motion_seq = payload.seq

    async def _report_regularly(self) -> None:
        await asyncio.sleep(self._report_s * random.random())  # devices do not speak in chorus
        while True:
            await asyncio.sleep(self._report_s)
            if self._unreported:
                self._unreported = False
                await self._grant()
                await self._say(pb.AttachRequest(held=media.Held(cursors=self._cursors())))

    async def _ping_regularly(self) -> None:
        while self._ping_s:
            await asyncio.sleep(self._ping_s)
            await self._say(pb.AttachRequest(ping=media.Ping(id=1)))

    async def _grant(self) -> None:
        credit = media.Credit(audio_bytes=self._freed[media.KIND_AUDIO], motion_bytes=self._freed[media.KIND_MOTION])
        self._freed = dict.fromkeys(self._freed, 0)
        await self._say(pb.AttachRequest(credit=credit))

    async def _open(self, conversation_id: str) -> None:
        if conversation_id not in self._hearing:
            self._hearing[conversation_id] = Hearing()
            await self._tell(media.PlayerEvent(conversation_id=conversation_id, started=media.PlaybackStarted()))

    async def _end(self, end: media.ConversationEnd) -> None:
        if end.conversation_id in self._hearing:
            self._listener.ended(end.conversation_id, end.last_audio_seq, end.last_motion_seq)
            await self._finish(end.conversation_id, interrupted=False)

    async def _finish(self, conversation_id: str, *, interrupted: bool) -> None:
        if self._hearing.pop(conversation_id, None) is None:
            return
        self.figures.finished += 1
        body = media.PlaybackFinished(interrupted=interrupted, reason="interrupted" if interrupted else "completed")
        await self._tell(media.PlayerEvent(conversation_id=conversation_id, finished=body))

    async def _tell(self, event: media.PlayerEvent) -> None:
        self._event_id += 1
        event.event_id = self._event_id
        data: bytes = pb.AttachRequest(event=event).SerializeToString()
        self._unacknowledged[self._event_id] = data
        await self._write(data)

    async def _say(self, request: pb.AttachRequest) -> None:
        await self._write(request.SerializeToString())

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            if not self._call.done():
                await self._call.write(data)
