"""Settings that an operator pushes to devices, over real streams."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import media_pb2
from tests.relay_server.service.wired import Stream, Wired, fault_of, hello

NONE = media_pb2.DeviceSettings()


def settings(revision: int, **values: str) -> media_pb2.DeviceSettings:
    pairs = [media_pb2.DeviceSetting(name=name, value=value) for name, value in sorted(values.items())]
    return media_pb2.DeviceSettings(settings=pairs, revision=revision)


def change(device_id: str, **values: str) -> pb.SetSettingsRequest:
    return pb.SetSettingsRequest(device_id=device_id, changes=settings(0, **values).settings)


async def shown(relay: Wired, device_id: str = "lobby") -> pb.Device:
    found: pb.Device = (await relay.admin.GetDevice(pb.GetDeviceRequest(device_id=device_id))).device
    return found


async def refusal(call: object) -> Reason:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return fault_of(caught.value.trailing_metadata()).reason


async def test_twenty_devices_get_them_and_the_one_that_refuses_is_told(relay: Wired) -> None:
    names = [f"device-{number}" for number in range(20)]
    devices = {name: await relay.device(name, settings=NONE) for name in names}

    async def push(name: str) -> None:
        await relay.admin.SetSettings(change(name, rotation="90"))
        told = await devices[name].hear("settings")
        assert told == settings(1, rotation="90")
        if name == "device-7":
            told = media_pb2.DeviceSettings(revision=1, refused=[media_pb2.RefusedSetting(name="rotation", reason="bolted to the wall")])
        await devices[name].say(settings=told)

    await asyncio.gather(*(push(name) for name in names))
    async with asyncio.timeout(5):
        while any([(await shown(relay, name)).settings_pending for name in names]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for name in names:
        found = await shown(relay, name)
        if name == "device-7":
            assert not found.settings.settings
            assert [(one.name, one.reason) for one in found.settings.refused] == [("rotation", "bolted to the wall")]
        else:
            assert found.settings == settings(1, rotation="90")


async def test_what_was_set_while_a_device_was_away_comes_with_its_welcome(relay: Wired) -> None:
    device = await relay.device(settings=settings(4, figures="on"))
    await device.say(goodbye={"reason": "shutdown"})
    await relay.admin.ListDevices(pb.ListDevicesRequest())
    async with asyncio.timeout(5):
        while (await relay.admin.ListDevices(pb.ListDevicesRequest())).devices:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await refusal(relay.admin.SetSettings(change("lobby", rotation="90"))) is Reason.DEVICE_UNKNOWN
    back = await relay.device(settings=settings(4, figures="on"))
    back.call.cancel()
    async with asyncio.timeout(5):
        while (await shown(relay)).attached:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await relay.admin.SetSettings(change("lobby", rotation="90"))
    assert (await shown(relay)).settings_pending
    again: Stream = relay.device_stream()
    await again.say(hello=hello(settings=settings(4, figures="on")))
    assert (await again.hear("welcome")).settings == settings(5, figures="on", rotation="90")


async def test_what_cannot_be_set_has_a_reason(relay: Wired) -> None:
    await relay.device("old")  # a version without settings
    await relay.device("new", settings=NONE)
    assert await refusal(relay.admin.SetSettings(change("old", rotation="90"))) is Reason.SETTINGS_UNSUPPORTED
    assert not (await shown(relay, "old")).HasField("settings")
    for changes in ({"rotation": "400"}, {"relay": "evil:1"}, {"relay": ""}, {}, {f"n{number}": "1" for number in range(40)}):
        assert await refusal(relay.admin.SetSettings(change("new", **changes))) is Reason.SETTINGS_INVALID
    assert (await shown(relay, "new")).settings == NONE
    assert await refusal(relay.admin.RestartDevice(pb.RestartDeviceRequest(device_id="x"))) is Reason.DEVICE_UNKNOWN


async def test_a_device_is_told_to_begin_anew_to_show_itself_and_to_update(relay: Wired) -> None:
    device = await relay.device(settings=NONE)
    await relay.admin.IdentifyDevice(pb.IdentifyDeviceRequest(device_id="lobby"))
    await device.hear("identify")
    await relay.admin.UpdateDevice(pb.UpdateDeviceRequest(device_id="lobby"))
    await device.hear("update")
    await relay.admin.RestartDevice(pb.RestartDeviceRequest(device_id="lobby"))
    await device.hear("restart")
    device.call.cancel()
    async with asyncio.timeout(5):
        while (await shown(relay)).attached:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await refusal(relay.admin.IdentifyDevice(pb.IdentifyDeviceRequest(device_id="lobby"))) is Reason.DEVICE_AWAY


async def test_settings_that_break_the_contract_end_the_stream(relay: Wired) -> None:
    device = await relay.device(settings=NONE)
    twice = media_pb2.DeviceSettings(settings=[media_pb2.DeviceSetting(name="rotation", value="0")] * 2)
    await device.say(settings=twice)
    code, fault = await device.ended()
    assert (code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.SETTINGS_INVALID)
