"""A device of the bench: one stream of the real protocol, read as protobuf messages, so that the load generator costs little.

It grants credit and reports cursors as an edge client does, with an answer to a ping; every third answer carries a ping of its own. It
reports `started` and `finished`. It does not reconnect: the bench measures streams that stay.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import grpc.aio

from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.v1 import media_pb2 as media
from scripts.bench.contract import Received

BUFFER_BYTES = 2 << 20
"""Buffer for each kind; an edge client's default."""
MUCH_BYTES = BUFFER_BYTES // 2
"""Credit is granted at once when this much has accumulated."""
REPORT_S = 3.0
ANSWERS_PER_PING = 3
"""As an edge client's."""
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 8 << 20), ("grpc.enable_retries", 0))
METHOD = "/avatar_relay.v1.DeviceService/Attach"


def open_channel(address: str) -> Any:
    """Open a channel with its own connection."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)


class RelayDevice:
    """A device; `run` runs until cancelled. `attached` is set by the relay's welcome. `received` is called with each whole payload."""

    def __init__(self, device_id: str, channel: Any, received: Received, *, report_s: float = REPORT_S) -> None:
        self.attached = asyncio.Event()
        self._device_id = device_id
        self._received = received
        self._report_s = report_s
        self._report_at_s = time.monotonic() + report_s * random.random()
        """When the next report is due; devices do not report in step."""
        self._call = channel.stream_stream(METHOD, pb.AttachRequest.SerializeToString, pb.AttachResponse.FromString)()
        self._cursors: dict[str, dict[int, int]] = {}
        self._pieces: dict[int, list[bytes]] = {media.KIND_AUDIO: [], media.KIND_MOTION: []}
        self._freed = dict.fromkeys(self._pieces, 0)
        self._unreported = False
        self._event_id = 0
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Attach, and process messages until the stream ends."""
        hello = pb.Hello(
            device_id=self._device_id,
            protocol_version=PROTOCOL_VERSION,
            software_version="bench",
            codecs=[media.AudioFormat.CODEC_PCM_S16LE, media.AudioFormat.CODEC_OPUS],
            output_rate_hz=48_000,
            motion_encodings=[media.MotionFormat.ENCODING_AVATARKIT_V2, media.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS],
            buffer=media.Credit(audio_bytes=BUFFER_BYTES, motion_bytes=BUFFER_BYTES),
            slow_when_idle=True,
            takes_joined=True,
        )
        await self._write({"hello": hello})
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                for one in response.joined.responses if response.HasField("joined") else (response,):
                    await self._take(one)
        finally:
            self._call.cancel()

    async def _take(self, response: pb.AttachResponse) -> None:
        match response.WhichOneof("message"):
            case "media":
                self._use(response.media)
                if sum(self._freed.values()) >= MUCH_BYTES:
                    await self._write({"credit": self._grant()})
            case "welcome":
                self.attached.set()
            case "open":
                conversation_id = response.open.conversation_id
                self._cursors[conversation_id] = dict.fromkeys(self._pieces, 0)
                await self._tell(media.PlayerEvent(conversation_id=conversation_id, started=media.PlaybackStarted()))
            case "end":
                await self._finish(response.end.conversation_id, media.PlaybackFinished(reason="completed"))
            case "interrupt":
                await self._finish(response.interrupt.conversation_id, media.PlaybackFinished(interrupted=True, reason="interrupted"))
            case "ping":
                pong = media.Pong(id=response.ping.id, ping_sent_time_us=response.ping.sent_time_us)
                asks = response.ping.id % ANSWERS_PER_PING == 1
                await self._write({"pong": pong}, *self._reports(), *([{"ping": media.Ping(id=response.ping.id)}] if asks else []))

    def _use(self, message: media.Media) -> None:
        cursor = self._cursors[message.conversation_id]
        for payload in message.payloads:
            kind, data = payload.kind, payload.data
            self._freed[kind] += len(data)
            pieces = self._pieces[kind]
            pieces.append(data)
            if payload.fragment_offset + len(data) >= payload.total_bytes:
                self._received(b"".join(pieces))
                pieces.clear()
                cursor[kind] = payload.seq
        self._unreported = True

    def _reports(self) -> list[dict[str, Any]]:
        """Credit and cursors, if they are due."""
        if not self._unreported or time.monotonic() < self._report_at_s:
            return []
        self._unreported, self._report_at_s = False, time.monotonic() + self._report_s
        cursors = [
            media.Cursor(conversation_id=cid, audio_seq=seqs[media.KIND_AUDIO], motion_seq=seqs[media.KIND_MOTION])
            for cid, seqs in self._cursors.items()
        ]
        return [{"credit": self._grant()}, {"held": media.Held(cursors=cursors)}]

    def _grant(self) -> media.Credit:
        credit = media.Credit(audio_bytes=self._freed[media.KIND_AUDIO], motion_bytes=self._freed[media.KIND_MOTION])
        self._freed = dict.fromkeys(self._freed, 0)
        return credit

    async def _finish(self, conversation_id: str, body: media.PlaybackFinished) -> None:
        if self._cursors.pop(conversation_id, None) is not None:
            await self._tell(media.PlayerEvent(conversation_id=conversation_id, finished=body))

    async def _tell(self, event: media.PlayerEvent) -> None:
        self._event_id += 1
        event.event_id = self._event_id
        await self._write({"event": event})

    async def _write(self, *messages: dict[str, Any]) -> None:
        message = messages[0] if len(messages) == 1 else {"joined": {"requests": messages}}
        async with self._writing:
            if not self._call.done():
                await self._call.write(pb.AttachRequest(**message))
