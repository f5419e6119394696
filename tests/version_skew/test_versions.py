"""Peers of other versions: a whole conversation works, and unknown data is ignored, or refused with its name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from avatar_relay.publisher import Publisher
from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2, media_pb2
from tests.lab.history import History
from tests.lab.simulated_device import SimulatedDevice
from tests.relay_server.service.wired import PATIENCE_S, Stream, Wired, wired
from tests.version_skew.contracts import LATER_NUMBER, Contract, first, later

CONTRACTS = (first(), later())
NAMES = ("jawOpen",)
SOUND = bytes(range(1, 201)) * 16
MOUTH = np.full((2, 1), 0.5, "<f4").tobytes()
AUDIO, MOTION = AudioFormat(Codec.PCM_S16LE, 16_000), MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, NAMES)
FORMATS: dict[str, Any] = {
    "audio_format": {"codec": 1, "sample_rate_hz": 16_000},
    "motion_format": {"encoding": 2, "keyframes_per_second": 25, "blendshape_names": NAMES},
}
PAYLOADS = [
    {"kind": 1, "seq": 1, "data": SOUND, "pts_us": 0, "duration_us": 100_000},
    {"kind": 2, "seq": 1, "data": MOUTH, "pts_us": 0, "duration_us": 80_000},
]
HELLO: dict[str, Any] = {
    "device_id": "lobby",
    "protocol_version": 1,
    "codecs": [1, 2, 3],
    "output_rate_hz": 48_000,
    "motion_encodings": [1, 2],
    "buffer": {"audio_bytes": 1 << 22, "motion_bytes": 1 << 22},
}
LIMITS = {"max_payload_bytes": 2 << 20, "max_message_bytes": 4 << 20, "max_fragment_bytes": 16 << 10, "lease_ms": 30_000}


@pytest.fixture(params=CONTRACTS, ids=lambda contract: contract.name)
def contract(request: pytest.FixtureRequest) -> Contract:
    """The other side's version."""
    found: Contract = request.param
    return found


class Peer(Stream):
    """A device's or publisher's end of a stream, in its own version of the protocol."""

    def __init__(self, channel: grpc.aio.Channel, contract: Contract, service: str, method: str) -> None:
        self._contract, self._name = contract, f"{method}Request"
        response = contract.type(f"{method}Response")
        path = f"/avatar_relay.v1.{service}/{method}"
        open_: Any = channel.stream_stream(path, lambda message: message.SerializeToString(), response.FromString)
        super().__init__(open_(), lambda **fields: contract.build(self._name, **fields))

    async def say_unknown(self) -> None:
        """Send a message that only a later version knows."""
        if self._contract.is_later:
            await self.call.write(self._contract.unknown(self._name))


async def attached(relay: Wired, contract: Contract, **more: Any) -> Peer:
    """Attach a device of that version, and read its welcome."""
    device = Peer(relay.channel, contract, "DeviceService", "Attach")
    await device.say(hello=HELLO | more)
    await device.hear("welcome")
    return device


async def introduced(relay: Wired, contract: Contract) -> Peer:
    """Connect a publisher of that version, and read its welcome."""
    publisher = Peer(relay.channel, contract, "PublisherService", "Publish")
    await publisher.say(hello={"publisher_id": "backend", "protocol_version": 1})
    await publisher.hear("welcome")
    return publisher


@contextmanager
def playing(address: str, folder: Path) -> Iterator[SimulatedDevice]:
    """Today's link to a relay, with a player that plays everything instantly. The caller kills it."""
    with History(folder / "history.tsv") as history:
        yield SimulatedDevice("lobby", address, history, random.Random(1))


async def until(condition: Any) -> None:
    """Wait until `condition` returns true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


def test_the_versions_differ_from_today() -> None:
    """The first lacks later additions; the later one has additions."""
    assert "joined" not in first().type("PublishRequest").DESCRIPTOR.fields_by_name
    assert not first().is_later
    assert later().is_later
    assert later().build("Media", payloads=PAYLOADS).ByteSize() > first().build("Media", payloads=PAYLOADS).ByteSize() + 40


# --- today's relay ----------------------------------------------------------------------------------------------------


async def test_a_device_of_another_version_plays_a_conversation(contract: Contract) -> None:
    """Today's publisher receives its end; additional data of a later device is ignored."""
    async with wired() as relay:
        device = await attached(relay, contract)
        await device.say_unknown()
        async with Publisher.connect(relay.address) as publisher:
            avatar = publisher.avatar("lobby", audio_format=AUDIO, motion_format=MOTION)
            cid = await avatar.yield_audio_data(SOUND, end=True)
            await avatar.yield_frames_data([MOUTH], cid)
            avatar.end()
            opened = await device.hear("open")
            assert opened.conversation_id == cid
            heard = list((await device.hear("media")).payloads)
            while {payload.kind for payload in heard} != {1, 2}:
                heard += (await device.hear("media")).payloads
            assert [payload.data for payload in heard] == [SOUND, MOUTH]
            assert (await device.hear("end")).last_audio_seq == 1
            if contract.is_later:
                event = contract.unknown("PlayerEvent")
                await device.say(event=event)
            await device.say(event={"event_id": 2, "conversation_id": cid, "finished": {"position_us": 100_000, "reason": "completed"}})
            assert (await avatar.finished(cid)).reason == "completed"
        assert not device.call.done()


async def test_a_publisher_of_another_version_is_played(contract: Contract, tmp_path: Path) -> None:
    """Today's client plays all of it; additional data of a later publisher is ignored."""
    async with wired() as relay:
        with playing(relay.address, tmp_path) as device:
            await until(lambda: device.link.status.attached)
            publisher = await introduced(relay, contract)
            await publisher.say_unknown()
            await publisher.say(open={"open": {"conversation_id": "c1", **FORMATS}, "targets": ["lobby"]})
            await publisher.hear("opened")
            await publisher.say(media={"conversation_id": "c1", "payloads": PAYLOADS})
            await publisher.say(end={"conversation_id": "c1", "last_audio_seq": 1, "last_motion_seq": 1})
            assert (await publisher.hear("event")).finished.reason == "completed"
            assert device.link.status.unknown_messages == device.link.status.refused_messages == 0
            await device.kill()
        assert not publisher.call.done()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"audio_format": {"codec": LATER_NUMBER, "sample_rate_hz": 16_000}}, Reason.AUDIO_FORMAT_UNSUPPORTED),
        ({"motion_format": {"encoding": LATER_NUMBER, "keyframes_per_second": 25}}, Reason.MOTION_FORMAT_UNSUPPORTED),
        ({"pacing": LATER_NUMBER}, Reason.MESSAGE_INVALID),
        ({"on_playing": LATER_NUMBER}, Reason.MESSAGE_INVALID),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value),
)
async def test_an_opening_that_only_a_later_version_knows_is_refused_by_name(said: dict[str, Any], reason: Reason) -> None:
    """The stream stays open, and the next conversation is opened."""
    async with wired() as relay:
        await attached(relay, later())
        publisher = await introduced(relay, later())
        await publisher.say(open={"open": {"conversation_id": "c1", **FORMATS, **said}, "targets": ["lobby"]})
        error = await publisher.hear("conversation_error")
        assert (error.conversation_id, error.status.code) == ("c1", 3)
        assert reason in str(error.status.details[0].value)
        await publisher.say(open={"open": {"conversation_id": "c2", **FORMATS}, "targets": ["lobby"]})
        assert (await publisher.hear("opened")).conversation_id == "c2"


async def test_a_payload_of_a_later_kind_fails_its_conversation_by_name() -> None:
    """Payloads received before it are played."""
    async with wired() as relay:
        device, publisher = await attached(relay, later()), await introduced(relay, later())
        await publisher.say(open={"open": {"conversation_id": "c1", **FORMATS}, "targets": ["lobby"]})
        await publisher.hear("opened")
        await publisher.say(media={"conversation_id": "c1", "payloads": PAYLOADS})
        await publisher.say(media={"conversation_id": "c1", "payloads": [PAYLOADS[0] | {"kind": LATER_NUMBER}]})
        assert Reason.PAYLOAD_INVALID in str((await publisher.hear("conversation_error")).status.details[0].value)
        await device.hear("open")
        assert {(await device.hear("media")).payloads[0].kind for _ in PAYLOADS} == {1, 2}  # one message each: little is in flight at first
        assert (await device.hear("end")).last_audio_seq == 1


async def test_a_device_that_knows_later_formats_only_gets_what_it_knows() -> None:
    """It gets no sound that it cannot decode, and only the sound if it cannot show the motion."""
    async with wired() as relay:
        publisher = await introduced(relay, later())
        await attached(relay, later(), device_id="deaf", codecs=[LATER_NUMBER])
        await attached(relay, later(), device_id="blind", motion_encodings=[LATER_NUMBER])
        for device_id, reason in (("deaf", Reason.AUDIO_FORMAT_UNSUPPORTED), ("blind", Reason.MOTION_FORMAT_UNSUPPORTED)):
            await publisher.say(open={"open": {"conversation_id": device_id, **FORMATS}, "targets": [device_id]})
            if device_id == "blind":
                await publisher.hear("opened")
            assert reason in str((await publisher.hear("conversation_error")).status.details[0].value)


async def test_an_event_about_a_later_kind_ends_the_stream_by_name() -> None:
    """The device is notified of the reason."""
    async with wired() as relay:
        device = await attached(relay, later())
        await device.say(event={"event_id": 1, "conversation_id": "c1", "dropped": {"kind": LATER_NUMBER, "payloads": 1}})
        code, fault = await device.ended()
        assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.MESSAGE_INVALID)


async def test_a_volume_reaches_a_device_of_another_version(contract: Contract) -> None:
    """At once, and on reconnect; an earlier device neither stores nor confirms it, so the relay keeps it."""
    async with wired() as relay:
        device = await attached(relay, contract)
        request = admin_service_pb2.SetVolumeRequest(device_id="lobby", volume=media_pb2.SetVolume(gain=0.25))
        await relay.admin.SetVolume(request)
        assert (await device.hear("volume")).gain == 0.25
        again = Peer(relay.channel, contract, "DeviceService", "Attach")
        await again.say(hello=HELLO)
        welcome = await again.hear("welcome")
        assert (welcome.volume.gain, welcome.volume.muted) == (0.25, False)
        shown = (await relay.admin.GetDevice(admin_service_pb2.GetDeviceRequest(device_id="lobby"))).device
        assert shown.volume_pending


# --- a relay of another version ---------------------------------------------------------------------------------------


class OtherRelay:
    """A minimal relay for one conversation, in its version of the protocol."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.heard: list[Any] = []

    async def attach(self, requests: AsyncIterator[Any], _context: object) -> AsyncIterator[Any]:
        """A device's stream: one conversation, after one that the device does not understand."""
        say = self._saying("AttachResponse")
        await anext(requests)
        yield say(welcome={"session_token": "t", "limits": LIMITS, "server_time_us": 1})
        if self._contract.is_later:
            yield self._contract.unknown("AttachResponse")
            yield say(open={"conversation_id": "c0", **FORMATS, "audio_format": {"codec": LATER_NUMBER, "sample_rate_hz": 16_000}})
        yield say(open={"conversation_id": "c1", **FORMATS})
        yield say(media={"conversation_id": "c1", "payloads": PAYLOADS})
        yield say(end={"conversation_id": "c1", "last_audio_seq": 1, "last_motion_seq": 1})
        async for request in requests:
            self.heard.append(request)

    async def publish(self, requests: AsyncIterator[Any], _context: object) -> AsyncIterator[Any]:
        """A publisher's stream: every conversation is opened, and finishes when its end is received."""
        say = self._saying("PublishResponse")
        async for request in requests:
            self.heard.append(request)
            match request.WhichOneof("message"):
                case "hello":
                    yield say(welcome={"session_token": "t", "limits": LIMITS})
                    if self._contract.is_later:
                        yield self._contract.unknown("PublishResponse")
                case "open":
                    cid = request.open.open.conversation_id
                    yield say(opened={"conversation_id": cid, "device_ids": ["lobby"]})
                    yield say(credit={"conversation_id": cid, "credit": {"audio_bytes": 1 << 20, "motion_bytes": 1 << 20}})
                case "end":
                    cid = request.end.conversation_id
                    if self._contract.is_later:
                        yield say(event=self._contract.unknown("PlayerEvent"))
                    finished = {"position_us": 100_000, "reason": "completed"}
                    yield say(event={"event_id": 1, "conversation_id": cid, "device_id": "lobby", "finished": finished})
                case "ping":
                    yield say(pong={"id": request.ping.id})

    def _saying(self, name: str) -> Any:
        return lambda **fields: self._contract.build(name, **fields)


@asynccontextmanager
async def other_relay(contract: Contract) -> AsyncIterator[tuple[OtherRelay, str]]:
    """Run the relay; yields it and its HOST:PORT."""
    relay, server = OtherRelay(contract), grpc.aio.server()
    for service, method, behaviour in (("DeviceService", "Attach", relay.attach), ("PublisherService", "Publish", relay.publish)):
        request = contract.type(f"{method}Request").FromString
        handler: Any = grpc.stream_stream_rpc_method_handler(behaviour, request, lambda message: message.SerializeToString())
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"avatar_relay.v1.{service}", {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield relay, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_the_client_plays_what_a_relay_of_another_version_says(contract: Contract, tmp_path: Path) -> None:
    """To its end; an unknown message is counted, a conversation that it cannot play is refused with its name."""
    async with other_relay(contract) as (relay, address):
        with playing(address, tmp_path) as device:

            def told(name: str) -> list[Any]:
                return [getattr(request, name) for request in relay.heard if request.WhichOneof("message") == name]

            await until(lambda: told("event"))
            assert [(event.conversation_id, event.finished.reason) for event in told("event")] == [("c1", "completed")]
            assert device.link.status.attached
            if contract.is_later:
                await until(lambda: told("conversation_error"))
                (error,) = told("conversation_error")
                assert (error.conversation_id, error.status.code) == ("c0", 3)
                assert Reason.AUDIO_FORMAT_UNSUPPORTED in str(error.status.details[0].value)
            status = device.link.status
            assert (status.unknown_messages, status.refused_messages) == ((1, 1) if contract.is_later else (0, 0))
            await device.kill()


async def test_the_library_speaks_through_a_relay_of_another_version(contract: Contract) -> None:
    """Messages are sent separately if the relay does not support joined ones; the end is received."""
    async with other_relay(contract) as (relay, address), Publisher.connect(address) as publisher:
        avatar = publisher.avatar("lobby", audio_format=AUDIO, motion_format=MOTION)
        cid = await avatar.yield_audio_data(SOUND, end=True)
        await avatar.yield_frames_data([MOUTH], cid)
        avatar.end()
        async with asyncio.timeout(PATIENCE_S):
            assert (await avatar.finished(cid)).reason == "completed"
        said = [request.WhichOneof("message") for request in relay.heard]
        assert None not in said
        assert said[:2] == ["hello", "open"]
        sent = [payload.data for request in relay.heard if request.WhichOneof("message") == "media" for payload in request.media.payloads]
        assert sent == [SOUND, MOUTH]
