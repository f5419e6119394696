"""The library and the relay together, in process and over gRPC, up to the messages of a device."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from avatar_relay import wire
from avatar_relay.fragments import Reassembler
from avatar_relay.limits import PUBLISHER_LEASE_US
from avatar_relay.media import Codec, ConversationOpen, Credit, Kind, MotionEncoding, OnPlaying
from avatar_relay.messages import AudioOnly, ConversationEnd, EventAck, Finished, Hello, Interrupt, Ping, PlayerEvent, Pong, Started
from avatar_relay.publisher import ConversationFailedError, Publisher
from avatar_relay.reasons import Reason
from avatar_relay.v1 import media_pb2
from relay_server.config import RelayConfig
from relay_server.connections.devices import DevicePort
from relay_server.connections.relay import Relay
from relay_server.core.device_outbox import MediaMessage
from relay_server.server import build_relay, serving
from tests.avatar_relay.publisher.fakes import PCM_16K, WEIGHTS_30, weights


class Mute:
    """A relay without `Speak`."""

    async def speak(self, target: str, *_: object, **__: object) -> tuple[str, str]:
        raise AssertionError


class Device:
    """A device that accepts what it is sent, plays it instantly and reports this."""

    def __init__(self, port: DevicePort, device_id: str, buffer_bytes: int) -> None:
        self._port = port
        self._device_id = device_id
        self._buffer = Credit(buffer_bytes, buffer_bytes)
        self._event_id = 0
        self._reassemblers = {kind: Reassembler(kind) for kind in Kind}
        self._playing: list[str] = []
        self.opened: list[ConversationOpen] = []
        self.bytes: dict[tuple[str, Kind], bytearray] = {}
        self.places: dict[tuple[str, Kind], list[tuple[int, int | None]]] = {}
        self.acknowledged = 0
        self.held_back: list[tuple[str, Finished]] | None = None
        """Withheld events; None if it reports at once."""
        self._acknowledged = asyncio.Event()
        self._ended = asyncio.Event()
        self._media = asyncio.Event()
        self.said: list[object] = []

    async def attach(self) -> None:
        codecs = (Codec.PCM_S16LE, Codec.OPUS, Codec.OGG_OPUS)
        hello = Hello(self._device_id, 1, "test", codecs, 48_000, (MotionEncoding.BLENDSHAPE_WEIGHTS,), self._buffer)
        await self._port.send(hello)

    async def run(self) -> None:
        while (message := await self._port.receive()) is not None:
            self.said.append(message)
            match message:
                case ConversationOpen():
                    await self._open(message)
                case MediaMessage():
                    await self._take(message)
                    self._media.set()
                case ConversationEnd():
                    await self._tell(message.conversation_id, Started())
                    self._ended.set()
                    await self._finish(message.conversation_id, Finished(100_000, False, "completed"))
                case Interrupt():
                    await self._finish(message.conversation_id, Finished(20_000, True, "interrupted"))
                case Ping():
                    await self._port.send(Pong(message.ping_id, message.sent_time_us, 0, 0, 0))
                case EventAck():
                    self.acknowledged = message.event_id
                    self._acknowledged.set()
                case _:
                    pass

    async def _open(self, opening: ConversationOpen) -> None:
        if opening.on_playing is OnPlaying.REPLACE:
            for conversation_id in tuple(self._playing):
                await self._finish(conversation_id, Finished(0, True, "replaced"))
        self.opened.append(opening)
        self._playing.append(opening.conversation_id)

    async def _finish(self, conversation_id: str, finished: Finished) -> None:
        if self.held_back is not None:
            self.held_back.append((conversation_id, finished))
        elif conversation_id in self._playing:
            self._playing.remove(conversation_id)
            await self._tell(conversation_id, finished)

    async def until_media(self) -> None:
        """Wait for the first payload."""
        await self._media.wait()

    async def until_acknowledged(self, event_id: int) -> None:
        """Wait until its events up to this one are acknowledged."""
        while self.acknowledged < event_id:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    async def until_ended(self) -> None:
        """Wait for the first conversation's end."""
        await self._ended.wait()

    async def release(self) -> None:
        """Send the withheld events."""
        held_back, self.held_back = self.held_back or [], None
        for conversation_id, finished in held_back:
            await self._finish(conversation_id, finished)

    async def _take(self, batch: MediaMessage) -> None:
        for encoded in (encoded for run in batch.batches for encoded in run.entries):
            payload = wire.payload_from_wire(media_pb2.Media.FromString(encoded).payloads[0], batch.conversation_id)
            key = (batch.conversation_id, payload.kind)
            whole = self._reassemblers[payload.kind].add(payload)
            if whole is not None:
                self.bytes.setdefault(key, bytearray()).extend(whole.data)
                self.places.setdefault(key, []).append((whole.seq, whole.pts_us))
            size = len(payload.data)
            await self._port.send(Credit(size, 0) if payload.kind is Kind.AUDIO else Credit(0, size))

    async def _tell(self, conversation_id: str, body: Started | Finished) -> None:
        self._event_id += 1
        await self._port.send(PlayerEvent(self._event_id, conversation_id, body))


@asynccontextmanager
async def pair(
    way: str, buffer_bytes: int = 2 << 20, *, hold_finished: bool = False, publisher_lease_us: int = PUBLISHER_LEASE_US
) -> AsyncIterator[tuple[Publisher, Device, Relay, str]]:
    """A relay and its address, a publisher connected in process or over gRPC, and a device."""
    relay = build_relay(RelayConfig(listen="127.0.0.1:0", publisher_lease_us=publisher_lease_us))
    device = Device(relay.connect_device(), "lobby", buffer_bytes)
    async with serving(relay, Mute()) as (_, address):
        device.held_back = [] if hold_finished else None
        await device.attach()
        running = asyncio.create_task(device.run())
        publisher = Publisher.in_process(relay) if way == "in process" else Publisher.connect(address)
        async with publisher:
            yield publisher, device, relay, address
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(params=["in process", "over grpc"])
def way(request: pytest.FixtureRequest) -> str:
    """Both forms of the library behave the same."""
    return str(request.param)


async def test_all_bytes_reach_the_device_and_finished_comes_back(way: str) -> None:
    """Sound and motion bit for bit, expected PTS and sequences, one finished, every event acknowledged."""
    sound, motion = os.urandom(64_001), [weights(40, 0.25), weights(20, 0.75)]
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(sound[:7])
        assert await avatar.opened(conversation_id) == ("lobby",)
        assert await avatar.yield_frames_data(motion, conversation_id)
        await avatar.yield_audio_data(sound[7:], end=True)
        finished = await avatar.finished(conversation_id)
        await device.until_acknowledged(2)
    assert device.bytes[conversation_id, Kind.AUDIO] == sound[:64_000]
    assert device.bytes[conversation_id, Kind.MOTION] == b"".join(motion)
    assert device.places[conversation_id, Kind.MOTION] == [(1, 0), (2, 1_333_333)]
    assert [seq for seq, _ in device.places[conversation_id, Kind.AUDIO]] == list(range(1, 22))
    assert device.opened[0].motion_format == WEIGHTS_30
    assert (finished.position_us, finished.reason) == (100_000, "completed")


async def test_more_than_all_buffers_hold_flows_under_credit(way: str) -> None:
    """8 MB of sound through a device with a buffer of 64 KB and a relay with 2.5 MB: nothing is lost, nothing is refused."""
    sound = os.urandom(8 << 20)
    async with pair(way, buffer_bytes=64 << 10) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(sound, end=True)
        await avatar.finished(conversation_id)
    assert device.bytes[conversation_id, Kind.AUDIO] == sound


async def test_audio_only_and_interrupt_reach_the_device(way: str) -> None:
    """And the next conversation plays."""
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        first = await avatar.yield_audio_data(bytes(3_200))
        await avatar.yield_frames_data([], first)
        await publisher.flush()
        avatar.interrupt()
        assert (await avatar.finished(first)).interrupted
        second = await avatar.yield_audio_data(bytes(3_200), end=True)
        await avatar.yield_frames_data([weights(3)], second)
        assert (await avatar.finished(second)).reason == "completed"
    assert [message for message in device.said if isinstance(message, AudioOnly | Interrupt)] == [AudioOnly(first), Interrupt(first)]


async def test_an_unknown_device_is_the_conversations_fault(way: str) -> None:
    """The stream survives, and the next conversation plays."""
    async with pair(way) as (publisher, _, _, _):
        nobody = publisher.avatar("nobody", audio_format=PCM_16K)
        conversation_id = await nobody.yield_audio_data(bytes(3_200))
        with pytest.raises(ConversationFailedError) as caught:
            await nobody.opened(conversation_id)
        assert caught.value.fault.reason is Reason.DEVICE_UNKNOWN
        avatar = publisher.avatar("lobby", "nobody", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(3_200), end=True)
        assert set((await avatar.finished(conversation_id)).by_device) == {"lobby"}


async def test_another_publisher_takes_over(way: str) -> None:
    """The last opener wins; the other is notified at its next sound."""
    async with pair(way) as (publisher, _, relay, _), Publisher.in_process(relay) as other:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(3_200))
        await avatar.opened(conversation_id)
        rival = other.avatar("lobby", audio_format=PCM_16K)
        await rival.yield_audio_data(bytes(3_200), end=True)
        await avatar.finished(conversation_id)
        with pytest.raises(ConversationFailedError):
            await avatar.yield_audio_data(bytes(3_200))


async def test_one_stream_carries_many_conversations_to_many_devices(way: str) -> None:
    """Each device gets its own, complete, while all are published concurrently."""
    names = [f"device-{number}" for number in range(8)]
    async with pair(way) as (publisher, _, relay, _), asyncio.TaskGroup() as tasks:
        devices = {name: Device(relay.connect_device(), name, 64 << 10) for name in names}
        for device in devices.values():
            await device.attach()
        running = [tasks.create_task(device.run()) for device in devices.values()]
        sounds = {name: os.urandom(200_000) for name in names}

        async def speak(name: str) -> str:
            avatar = publisher.avatar(name, audio_format=PCM_16K)
            for start in range(0, 200_000, 7_777):
                conversation_id = await avatar.yield_audio_data(sounds[name][start : start + 7_777])
            avatar.end()
            await avatar.finished(conversation_id)
            return conversation_id

        spoken = dict(zip(names, await asyncio.gather(*map(speak, names)), strict=True))
        for task in running:
            task.cancel()
    assert {name: devices[name].bytes for name in names} == {name: {(spoken[name], Kind.AUDIO): sounds[name]} for name in names}
