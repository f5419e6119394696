"""AdminService, health and reflection over real gRPC, and draining a relay."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from avatar_relay.errors import ConfigError
from avatar_relay.media import OnPlaying
from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import media_pb2
from relay_server.config import RelayConfig
from relay_server.service.admin import NAME as ADMIN
from relay_server.service.device import NAME as DEVICE
from relay_server.service.publisher import NAME as PUBLISHER
from relay_server.sources.source import NamedSpeech, TextSpeech, VoiceWish
from tests.relay_server.service.wired import Wired, audio, fault_of, finished, hello, media, opening, wired


async def test_devices_are_listed_and_shown(relay: Wired) -> None:
    """Lists attached devices with their playing and queued conversations."""
    await relay.device("hall")
    await relay.device("lobby", buffer=media_pb2.Credit(audio_bytes=3, motion_bytes=4), software_version="test 1")
    publisher = await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1), audio(2)))
    await publisher.say(pause=media_pb2.Pause(conversation_id="c1"))
    await publisher.say(ping=media_pb2.Ping())
    await publisher.hear("opened")
    await publisher.hear("pong")
    listed = (await relay.admin.ListDevices(pb.ListDevicesRequest())).devices
    assert [device.device_id for device in listed] == ["hall", "lobby"]
    shown = (await relay.admin.GetDevice(pb.GetDeviceRequest(device_id="lobby"))).device
    assert (shown.attached, shown.software_version, shown.output_rate_hz) == (True, "test 1", 48_000)
    assert list(shown.codecs) == [1, 2, 3]
    assert (shown.credit.audio_bytes, shown.waiting.audio_bytes) == (1, 2)
    only = shown.conversations[0]
    assert (only.conversation_id, only.publisher_id, only.ended, only.paused, only.sent.audio_seq) == ("c1", "backend", False, True, 1)


async def test_a_device_is_steered(relay: Wired) -> None:
    """Pause, resume, volume and interrupt reach the device; an interrupt without id applies to what plays."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await device.hear("open")
    assert (await relay.admin.Resume(pb.ResumeRequest(device_id="lobby"))).conversation_id == ""
    assert (await relay.admin.Pause(pb.PauseRequest(device_id="lobby"))).conversation_id == "c1"
    assert (await device.hear("pause")).conversation_id == "c1"
    assert (await relay.admin.Resume(pb.ResumeRequest(device_id="lobby"))).conversation_id == "c1"
    assert (await device.hear("resume")).conversation_id == "c1"
    volume = media_pb2.SetVolume(gain=0.5, muted=True)
    answer = (await relay.admin.SetVolume(pb.SetVolumeRequest(device_id="lobby", volume=volume))).volume
    assert (answer.gain, answer.muted, answer.revision) == (0.5, True, 1)
    assert await device.hear("volume") == answer
    volume = (await relay.admin.SetMuted(pb.SetMutedRequest(device_id="lobby"))).volume
    assert (volume.gain, volume.muted, volume.revision) == (0.5, False, 2)
    assert await device.hear("volume") == volume
    assert (await relay.admin.Interrupt(pb.InterruptRequest(device_id="lobby"))).conversation_id == "c1"
    assert (await device.hear("interrupt")).conversation_id == "c1"
    assert (await relay.admin.Interrupt(pb.InterruptRequest(device_id="lobby"))).conversation_id == ""
    again = relay.device_stream()
    await again.say(hello=hello())
    assert (await again.hear("welcome")).volume == volume, "the volume outlives the session"


async def test_a_volume_is_pending_until_the_device_has_stored_it(relay: Wired) -> None:
    """`GetDevice` shows it, watchers are notified; after the relay's restart the device's first report applies."""
    device = relay.device_stream()
    await device.say(hello=hello(volume=media_pb2.SetVolume(gain=0.25, revision=7)))
    assert (await device.hear("welcome")).volume.revision == 7

    async def shown() -> tuple[float, bool]:
        found = (await relay.admin.GetDevice(pb.GetDeviceRequest(device_id="lobby"))).device
        return found.volume.gain, found.volume_pending

    assert await shown() == (0.25, False)
    watch = relay.admin.WatchEvents(pb.WatchEventsRequest(device_ids=["lobby"]))
    async with asyncio.timeout(5):
        while not relay.relay.watchers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await relay.admin.SetVolume(pb.SetVolumeRequest(device_id="lobby", volume=media_pb2.SetVolume(gain=0.5)))
    change = await device.hear("volume")
    assert change.revision == 8
    assert await shown() == (0.5, True)
    assert (await watch.read()).volume == pb.VolumeChanged(volume=change, pending=True)
    await device.say(volume=change)
    assert (await watch.read()).volume == pb.VolumeChanged(volume=change)
    assert await shown() == (0.5, False)


UNKNOWN = {
    "GetDevice": (pb.GetDeviceRequest(device_id="x"), Reason.DEVICE_UNKNOWN),
    "Interrupt": (pb.InterruptRequest(device_id="x"), Reason.DEVICE_UNKNOWN),
    "Pause": (pb.PauseRequest(device_id="x"), Reason.DEVICE_UNKNOWN),
    "Resume": (pb.ResumeRequest(device_id="x"), Reason.DEVICE_UNKNOWN),
    "SetMuted": (pb.SetMutedRequest(device_id="x"), Reason.DEVICE_UNKNOWN),
    "SetVolume": (pb.SetVolumeRequest(device_id="x", volume=media_pb2.SetVolume(gain=2)), Reason.VOLUME_INVALID),
    "Speak": (pb.SpeakRequest(target="x", text="Hello."), Reason.DEVICE_UNKNOWN),
}


@pytest.mark.parametrize("rpc", UNKNOWN)
async def test_what_can_not_be_done_has_a_reason(relay: Wired, rpc: str) -> None:
    """NOT_FOUND or INVALID_ARGUMENT, with details."""
    request, reason = UNKNOWN[rpc]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(relay.admin, rpc)(request)
    fault = fault_of(caught.value.trailing_metadata())
    assert fault.reason is reason
    assert caught.value.code() is grpc.StatusCode[fault.code]
    assert caught.value.details() == fault.text


async def test_garbage_is_the_callers_fault(relay: Wired) -> None:
    """Never INTERNAL."""
    call: Any = relay.channel.unary_unary("/avatar_relay.v1.AdminService/GetDevice")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fault_of(caught.value.trailing_metadata()).reason is Reason.MESSAGE_INVALID


@pytest.mark.parametrize("names", [["x" * 65], ["lobby"] * 257])
async def test_watched_names_are_bounded(relay: Wired, names: list[str]) -> None:
    """By number and by length."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await relay.admin.WatchEvents(pb.WatchEventsRequest(device_ids=names)).read()
    fault = fault_of(caught.value.trailing_metadata())
    assert (fault.reason, fault.field) == (Reason.MESSAGE_INVALID, "device_ids")


async def test_speak(relay: Wired) -> None:
    """Text or a file is passed to the relay's source; a request with neither is refused."""
    spoken = await relay.admin.Speak(pb.SpeakRequest(target="lobby", text="Hello.", on_playing=media_pb2.ON_PLAYING_QUEUE))
    assert (spoken.conversation_id, spoken.trace_id) == ("c-spoken", "trace")
    await relay.admin.Speak(pb.SpeakRequest(target="lobby", file="demo.wav"))
    assert relay.speech.said == [
        ("lobby", TextSpeech("Hello."), OnPlaying.QUEUE),
        ("lobby", NamedSpeech("demo.wav"), OnPlaying.REPLACE),
    ]
    await relay.admin.Speak(pb.SpeakRequest(target="lobby", ssml="<speak>Hallo.</speak>", voice="de", words_per_minute=120, pitch=0))
    assert relay.speech.said[-1][1] == TextSpeech("<speak>Hallo.</speak>", VoiceWish("de", 120, 0), is_ssml=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await relay.admin.Speak(pb.SpeakRequest(target="lobby"))
    assert fault_of(caught.value.trailing_metadata()).reason is Reason.SPEECH_MISSING


async def test_watching(relay: Wired) -> None:
    """Events are sent as they occur; other devices are left out if some are named."""
    call = relay.admin.WatchEvents(pb.WatchEventsRequest(device_ids=["lobby"]))
    async with asyncio.timeout(5):
        while not relay.relay.watchers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the call has no initial response to wait for
    await relay.device("hall")
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening("c1", "lobby", "hall"))
    await publisher.say(media=media(audio()))
    await publisher.say(end=media_pb2.ConversationEnd(conversation_id="c1", last_audio_seq=1))
    for told in ("open", "media", "end"):
        await device.hear(told)
    await device.say(event=finished())
    await publisher.say(media=media(audio(2)))
    names = []
    for _ in range(4):
        event = await call.read()
        names.append(event.WhichOneof("event"))
        assert event.device_id == "lobby"
        assert event.unix_time_us > 1_600_000_000_000_000
    assert names == ["attached", "opened", "ended", "player"]
    call.cancel()


async def health(relay: Wired, service: str) -> int:
    """A service's status."""
    stub: Any = health_pb2_grpc.HealthStub(relay.channel)
    status: int = (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status
    return status


async def test_draining(relay: Wired) -> None:
    """NOT_SERVING at once, nothing new is opened, current conversations may finish, then the streams end with a hint."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.hear("opened")
    assert [await health(relay, name) for name in ("", DEVICE, PUBLISHER, ADMIN)] == [1] * 4
    assert (await relay.admin.Drain(pb.DrainRequest(grace_ms=9_000))).conversations == 1
    assert relay.relay.drain_asked.is_set()
    draining = asyncio.create_task(relay.server.drain())
    assert (await publisher.hear("goaway")).reason == "drain"
    assert [await health(relay, name) for name in ("", DEVICE, PUBLISHER, ADMIN)] == [2] * 4
    await publisher.say(open=opening("c2"))
    assert (await publisher.hear("conversation_error")).conversation_id == "c2"
    await device.hear("open")
    assert (await device.hear("goaway")).reason == "drain"
    late = relay.device_stream()
    await late.say(hello=hello("late"))
    assert (await late.ended())[1].reason is Reason.DRAINING
    assert not draining.done()
    await device.say(event=finished())
    status, fault = await device.ended()
    assert (status, fault.reason, fault.retry_after_ms) == (grpc.StatusCode.UNAVAILABLE, Reason.DRAINING, 1_000)
    await draining


async def test_reflection_names_what_is_served(relay: Wired) -> None:
    """grpcurl then needs no files."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(relay.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await call.read()).list_services_response.service}
    assert {DEVICE, PUBLISHER, ADMIN, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} == names
    await call.done_writing()


async def test_channelz_is_off_unless_asked_for() -> None:
    """It would expose peers' addresses."""
    for channelz in (False, True):
        async with wired(RelayConfig(listen="127.0.0.1:0", channelz=channelz)) as relay:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(relay.channel)
            call = stub.ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            names = {service.name for service in (await call.read()).list_services_response.service}
            assert ("grpc.channelz.v1.Channelz" in names) is channelz
            await call.done_writing()


async def test_an_address_that_is_taken_is_told(relay: Wired) -> None:
    """A second relay on the same port must fail, not share it."""
    with pytest.raises(ConfigError, match="address already in use"):
        async with wired(RelayConfig(listen=relay.address)):
            pass
