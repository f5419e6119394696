"""Scopes: a device attaches under its own name only; publishers and operators reach only the devices granted to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode as Code

from avatar_relay.credentials import metadata_of
from avatar_relay.messages import Volume
from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from avatar_relay.v1 import admin_service_pb2_grpc as admin_grpc
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import device_service_pb2_grpc as device_grpc
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.v1 import publisher_service_pb2_grpc as publisher_grpc
from relay_server.access.scopes import Role
from relay_server.core.congestion import CongestionWindow
from tests.relay_server.access.guarded import Access, guarded
from tests.relay_server.service.wired import PATIENCE_S, Stream, Wired, audio, fault_of, hello, media, opening

GROUPS = {"shop": ("lobby", "till"), "all": ("lobby", "till", "vault")}
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Doors:
    """A guarded relay with three devices, and ways to connect to it."""

    def __init__(self, relay: Wired, access: Access) -> None:
        self.relay = relay
        self.access = access
        self.devices: dict[str, Stream] = {}

    def attaching(self, token: str) -> Stream:
        """A device's stream that has sent nothing yet."""
        call = device_grpc.DeviceServiceStub(self.relay.channel).Attach(metadata=metadata_of(token))
        return Stream(call, device_pb.AttachRequest)

    def publishing(self, token: str) -> Stream:
        """A publisher's stream that has sent nothing yet."""
        call = publisher_grpc.PublisherServiceStub(self.relay.channel).Publish(metadata=metadata_of(token))
        return Stream(call, publisher_pb.PublishRequest)

    async def operate(self, token: str, rpc: str, request: Any) -> Any:
        """One RPC of AdminService."""
        stub: Any = admin_grpc.AdminServiceStub(self.relay.channel)
        return await getattr(stub, rpc)(request, metadata=metadata_of(token))


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    """Devices `lobby`, `till` and `vault` are attached."""
    access = Access(tmp_path)
    tokens = {name: access.add(Role.DEVICE, name) for name in ("lobby", "till", "vault")}
    async with guarded(access, groups=GROUPS) as relay:
        doors = Doors(relay, access)
        for name, token in tokens.items():
            doors.devices[name] = doors.attaching(token)
            await doors.devices[name].say(hello=hello(name))
            await doors.devices[name].hear("welcome")
        yield doors


async def known(doors: Doors, token_for: Role, name: str, **more: Any) -> str:
    """Add an identity, wait until the relay knows it, and return its token."""
    token = doors.access.add(token_for, name, **more)
    assert doors.relay.server.guard is not None
    await doors.relay.server.guard.look_after()
    return token


async def test_a_device_attaches_as_itself_only(doors: Doors) -> None:
    """Another device's name is refused, and that device is not disturbed."""
    token = await known(doors, Role.DEVICE, "intruder")
    stream = doors.attaching(token)
    await stream.say(hello=hello("vault"))
    code, fault = await stream.ended()
    assert (code, fault.reason, fault.field) == (Code.PERMISSION_DENIED, Reason.DEVICE_FORBIDDEN, "hello.device_id")
    assert doors.relay.relay.operator.session("vault").attached
    own = doors.attaching(token)
    await own.say(hello=hello("intruder"))
    await own.hear("welcome")


async def test_a_device_gets_its_own_payloads_only(doors: Doors) -> None:
    """Media published to another device never reaches it."""
    token = await known(doors, Role.PUBLISHER, "backend", devices=("vault",))
    publisher = doors.publishing(token)
    await publisher.say(open=opening("c1", "vault", motion=False))
    await publisher.say(media=media(audio(0, b"secret")))
    await doors.devices["vault"].hear("open")
    assert (await doors.devices["vault"].hear("media")).payloads[0].data == b"secret"
    sessions = {session.device_id: session for session in doors.relay.relay.sessions()}
    assert list(sessions["vault"].deliveries) == ["c1"]
    assert not sessions["lobby"].deliveries
    assert not sessions["till"].deliveries


@pytest.mark.parametrize(
    ("scope", "targets", "allowed"),
    [
        (("lobby",), ("lobby",), True),
        (("lobby",), ("vault",), False),
        (("lobby",), ("lobby", "vault"), False),
        (("lobby",), ("shop",), False),
        (("lobby", "till"), ("shop",), True),
        (("shop",), ("shop",), True),
        (("shop",), ("till",), True),
        (("shop",), ("all",), False),
        (("l*",), ("lobby",), True),
        (("l*",), ("vault",), False),
        (("*",), ("all",), True),
        ((), ("lobby",), False),
    ],
)
async def test_a_publisher_opens_where_it_may(doors: Doors, scope: tuple[str, ...], targets: tuple[str, ...], allowed: bool) -> None:
    """Devices, groups and name prefixes; a refusal is sent in band, and nothing reaches any device."""
    token = await known(doors, Role.PUBLISHER, "backend", devices=scope)
    publisher = doors.publishing(token)
    await publisher.say(open=opening("c1", *targets, motion=False))
    if allowed:
        await publisher.hear("opened")
        return
    error = await publisher.hear("conversation_error")
    assert error.status.code == Code.PERMISSION_DENIED.value[0]
    assert not any(session.deliveries for session in doors.relay.relay.sessions())
    await publisher.say(ping=pb.Ping(id=1))
    assert (await publisher.hear("pong")) is not None


async def test_a_publisher_sets_the_volume_where_it_may(doors: Doors) -> None:
    """Other devices do not change, and its open conversations continue."""
    token = await known(doors, Role.PUBLISHER, "backend", devices=("lobby",))
    publisher = doors.publishing(token)
    await publisher.say(open=opening("c1", "lobby", motion=False))
    await publisher.hear("opened")
    await publisher.say(volume=publisher_pb.DeviceVolume(device_id="vault", volume=pb.SetVolume(gain=0.1)))
    assert (await publisher.hear("conversation_error")).device_id == "vault"
    assert doors.relay.relay.operator.session("vault").volume.volume.gain == 1.0
    await publisher.say(volume=publisher_pb.DeviceVolume(device_id="lobby", volume=pb.SetVolume(gain=0.1)))
    await publisher.say(media=media(audio(0, b"ab")))
    await doors.devices["lobby"].hear("open")
    assert (await doors.devices["lobby"].hear("volume")).gain == pytest.approx(0.1)


async def test_publisher_ids_belong_to_their_identities(doors: Doors) -> None:
    """Nobody can take or block another identity's publisher id; the same identity may reconnect at any time."""
    one, two = [await known(doors, Role.PUBLISHER, name, devices=("*",)) for name in ("one", "two")]
    said = publisher_pb.PublisherHello(publisher_id="studio", protocol_version=1)
    first = doors.publishing(one)
    await first.say(hello=said)
    await first.hear("welcome")
    namesake = doors.publishing(two)
    await namesake.say(hello=said)
    await namesake.hear("welcome")
    assert {publisher.key for publisher in doors.relay.relay.publishers.known()} == {"publisher one/studio", "publisher two/studio"}
    again = doors.publishing(one)
    await again.say(hello=said)
    await again.hear("welcome")
    code, fault = await first.ended()
    assert (code, fault.reason) == (Code.ABORTED, Reason.REPLACED)


@pytest.mark.parametrize(("trusted", "arrives"), [(True, SAMPLED), (False, "")])
async def test_the_sampled_flag_counts_where_it_is_trusted(doors: Doors, trusted: bool, arrives: str) -> None:
    """Otherwise an untrusted caller could fill the collector, or write into another caller's trace."""
    token = await known(doors, Role.PUBLISHER, "backend", devices=("*",), trusted_sampling=trusted)
    publisher = doors.publishing(token)
    await publisher.say(open=opening("c1", "lobby", motion=False, trace_context=pb.TraceContext(traceparent=SAMPLED)))
    opened = await doors.devices["lobby"].hear("open")
    assert opened.trace_context.traceparent == arrives


VOLUME = pb.SetVolume(gain=0.5)
STEERING = {
    "GetDevice": admin_pb.GetDeviceRequest(device_id="vault"),
    "Speak": admin_pb.SpeakRequest(target="vault", text="hi"),
    "Interrupt": admin_pb.InterruptRequest(device_id="vault"),
    "Pause": admin_pb.PauseRequest(device_id="vault"),
    "Resume": admin_pb.ResumeRequest(device_id="vault"),
    "SetVolume": admin_pb.SetVolumeRequest(device_id="vault", volume=VOLUME),
    "SetMuted": admin_pb.SetMutedRequest(device_id="vault", muted=True),
    "Drain": admin_pb.DrainRequest(),
}


@pytest.mark.parametrize("rpc", STEERING)
async def test_an_operator_keeps_to_its_devices(doors: Doors, rpc: str) -> None:
    """Holds for reading and steering; an operator without access to all devices may not drain the relay."""
    token = await known(doors, Role.OPERATOR, "clerk", devices=("shop",))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await doors.operate(token, rpc, STEERING[rpc])
    assert caught.value.code() is Code.PERMISSION_DENIED
    assert fault_of(caught.value.trailing_metadata()).reason in (Reason.DEVICE_FORBIDDEN, Reason.RPC_FORBIDDEN)
    assert doors.relay.relay.operator.session("vault").volume.volume == Volume()
    assert not doors.relay.relay.drain_asked.is_set()
    assert not doors.relay.speech.said


async def test_an_operator_sees_its_devices_only(doors: Doors) -> None:
    """In the list, and in the events it watches."""
    token = await known(doors, Role.OPERATOR, "clerk", devices=("shop",))
    listed = await doors.operate(token, "ListDevices", admin_pb.ListDevicesRequest())
    assert [device.device_id for device in listed.devices] == ["lobby", "till"]
    stub: Any = admin_grpc.AdminServiceStub(doors.relay.channel)
    watching = stub.WatchEvents(admin_pb.WatchEventsRequest(), metadata=metadata_of(token))
    first = await doors.operate(token, "SetVolume", admin_pb.SetVolumeRequest(device_id="till", volume=VOLUME))
    assert first.volume.gain == 0.5
    while not doors.relay.relay.watchers:
        await doors.operate(token, "ListDevices", admin_pb.ListDevicesRequest())
    for name in ("vault", "till"):
        await doors.devices[name].say(goodbye=device_pb.Goodbye(reason="shutdown"))
    assert (await watching.read()).device_id == "till"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WatchEvents(admin_pb.WatchEventsRequest(device_ids=["vault"]), metadata=metadata_of(token)).read()
    assert caught.value.code() is Code.PERMISSION_DENIED


async def test_who_is_revoked_has_to_leave(doors: Doors) -> None:
    """Running streams end with the reason; the others continue."""
    doors.access.revoke(Role.DEVICE, "till")
    assert doors.relay.server.guard is not None
    await doors.relay.server.guard.look_after()
    code, fault = await doors.devices["till"].ended()
    assert (code, fault.reason) == (Code.UNAUTHENTICATED, Reason.CREDENTIALS_REVOKED)
    assert doors.relay.relay.operator.session("lobby").attached
    assert not doors.relay.relay.operator.session("till").attached


async def test_who_is_revoked_and_reads_nothing_is_out_as_well(doors: Doors) -> None:
    """Its session is detached at once, although a write to it hangs."""
    deaf = doors.attaching(await known(doors, Role.DEVICE, "deaf"))
    await deaf.say(hello=hello("deaf", buffer=pb.Credit(audio_bytes=1 << 30)))
    await deaf.hear("welcome")
    session = doors.relay.relay.operator.session("deaf")
    session.flight = CongestionWindow(1 << 30)  # no pings are awaited: the writes themselves must hang
    publisher = doors.publishing(await known(doors, Role.PUBLISHER, "backend", devices=("*",)))
    await publisher.say(open=opening("c1", "deaf", motion=False))
    await publisher.hear("opened")
    feeding = asyncio.create_task(_feed(publisher))
    async with asyncio.timeout(PATIENCE_S):
        while session.outbox.waiting("c1") < 1 << 21:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no event signals it
    doors.access.revoke(Role.DEVICE, "deaf")
    assert doors.relay.server.guard is not None
    await doors.relay.server.guard.look_after()
    async with asyncio.timeout(PATIENCE_S):
        while session.attached:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no event signals it
    code, fault = await deaf.ended()
    assert (code, fault.reason) == (Code.UNAUTHENTICATED, Reason.CREDENTIALS_REVOKED)
    feeding.cancel()


async def _feed(publisher: Stream) -> None:
    while True:
        await publisher.say(media=media(audio(0, bytes(1 << 20))))


async def test_who_may_do_less_has_to_come_again(doors: Doors) -> None:
    """A narrowed scope also applies to running streams."""
    token = await known(doors, Role.PUBLISHER, "backend", devices=("*",))
    publisher = doors.publishing(token)
    await publisher.say(open=opening("c1", "vault", motion=False))
    await publisher.hear("opened")
    doors.access.change(Role.PUBLISHER, "backend", devices=("lobby",))
    assert doors.relay.server.guard is not None
    await doors.relay.server.guard.look_after()
    assert (await publisher.ended())[1].reason is Reason.CREDENTIALS_REVOKED


async def test_a_file_that_is_wrong_changes_nothing(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    """An editing mistake neither admits nor removes anyone; it is logged once."""
    doors.access.path.write_text("{")
    assert doors.relay.server.guard is not None
    for _ in range(3):
        await doors.relay.server.guard.look_after()
    assert len([record for record in caplog.records if "the previous one stays in effect" in record.message]) == 1
    assert all(session.attached for session in doors.relay.relay.sessions())


async def test_streams_of_one_identity_are_limited(doors: Doors) -> None:
    """The quota counts open streams: one that ends frees its place."""
    token = await known(doors, Role.PUBLISHER, "backend", devices=("*",), streams=1)
    first = doors.publishing(token)
    await first.say(ping=pb.Ping(id=1))
    await first.hear("pong")
    code, fault = await doors.publishing(token).ended()
    assert (code, fault.reason) == (Code.RESOURCE_EXHAUSTED, Reason.LIMIT_REACHED)
    assert fault.retry_after_ms > 0
    await first.call.done_writing()
    while await first.call.read() is not grpc.aio.EOF:
        pass
    last = doors.publishing(token)
    await last.say(ping=pb.Ping(id=2))
    await last.hear("pong")
