"""AdminService of a relay in a cluster: operators see and control the devices of all relays from any relay.

The caller is checked here, and the other relay trusts that. `Drain` and `PairDevice` concern this relay and, if it is a worker, the other
workers of its supervisor: an operator cannot choose among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from avatar_relay import wire
from avatar_relay.errors import FaultError
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import admin_service_pb2 as pb
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage
from relay_server.cluster.cluster import Cluster
from relay_server.cluster.watching import METHOD, OtherRelays, serve_watch
from relay_server.cluster.ways import HERE
from relay_server.connections.relay import Relay
from relay_server.errors import RequestError
from relay_server.service.admin import AdminService, Pair, Speech, Write, check_reach, may_reach

logger = logging.getLogger(__name__)

ANSWER_S = 2.0
"""How long another relay may take to answer; `SLOW_ANSWER_S` for requests that start speech or wait for a device."""
SLOW_ANSWER_S = 25.0
_DONE, _FAULT = b"\x00", b"\x01"
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class ClusterAdmin(AdminService):
    """AdminService for the devices of all relays."""

    def __init__(self, relay: Relay, speech: Speech, pair: Pair | None, cluster: Cluster) -> None:
        super().__init__(relay, speech, pair)
        self._cluster = cluster
        cluster.serve_operators(self._on_request)
        own = self._own = AdminService(relay, speech, pair)
        self._local: dict[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]] = {
            "ListDevices": (pb.ListDevicesRequest, own.list_devices),
            "GetDevice": (pb.GetDeviceRequest, own.get_device),
            "Speak": (pb.SpeakRequest, own.speak),
            "Interrupt": (pb.InterruptRequest, own.interrupt),
            "Pause": (pb.PauseRequest, own.pause),
            "Resume": (pb.ResumeRequest, own.resume),
            "SetVolume": (pb.SetVolumeRequest, own.set_volume),
            "SetMuted": (pb.SetMutedRequest, own.set_muted),
            "SetSettings": (pb.SetSettingsRequest, own.set_settings),
            "RestartDevice": (pb.RestartDeviceRequest, own.restart_device),
            "IdentifyDevice": (pb.IdentifyDeviceRequest, own.identify_device),
            "UpdateDevice": (pb.UpdateDeviceRequest, own.update_device),
            "Drain": (pb.DrainRequest, own.drain),
            "PairDevice": (pb.PairDeviceRequest, own.pair_device),
        }

    async def list_devices(self, request: pb.ListDevicesRequest) -> pb.ListDevicesResponse:
        """List the devices of all relays that answer; a device listed by two relays counts at the one it is attached to."""
        answers = await self._cluster.ask_all(self._cluster.names.admin, b"ListDevices\n", ANSWER_S)
        devices = list((await self._own.list_devices(request)).devices)
        for answer in answers.values():
            with suppress(FaultError):
                devices += _response(answer, pb.ListDevicesResponse).devices
        by_name = {device.device_id: device for device in sorted(devices, key=lambda device: device.attached)}
        return pb.ListDevicesResponse(devices=[by_name[name] for name in sorted(by_name) if may_reach(name)])

    async def watch_events(self, request: pb.WatchEventsRequest, write: Write) -> None:
        """See `AdminService`. Events of other relays are passed on as they arrive; the events of each relay are in order."""
        writing = asyncio.Lock()

        async def tell(event: Message) -> None:
            async with writing:
                await write(event)

        others = asyncio.create_task(OtherRelays(self._cluster, request, tell).run())
        try:
            await self._own.watch_events(request, tell)
        finally:
            others.cancel()
            await asyncio.gather(others, return_exceptions=True)

    async def drain(self, request: pb.DrainRequest) -> pb.DrainResponse:
        """See `AdminService`."""
        conversations = (await self._own.drain(request)).conversations
        answers = await asyncio.gather(*(self._ask_sibling(name, "Drain", request, pb.DrainResponse) for name in self._siblings()))
        return pb.DrainResponse(conversations=conversations + sum(answer.conversations for answer in answers if answer is not None))

    async def pair_device(self, request: pb.PairDeviceRequest) -> pb.PairDeviceResponse:
        """See `AdminService`. The device may wait at any of the workers."""
        try:
            return await self._own.pair_device(request)
        except RequestError as error:
            if error.fault.reason is not Reason.PAIRING_UNKNOWN:
                raise
            for name in self._siblings():
                try:
                    if (answer := await self._ask_sibling(name, "PairDevice", request, pb.PairDeviceResponse)) is not None:
                        return answer
                except RequestError as other:
                    if other.fault.reason is not Reason.PAIRING_UNKNOWN:
                        raise
            raise

    def _siblings(self) -> tuple[str, ...]:
        """The other workers of this one's supervisor."""
        siblings = self._relay.config.siblings
        return tuple(name for name in self._cluster.members() if siblings and name.startswith(siblings))

    async def _ask_sibling(self, name: str, method: str, request: Message, kind: type[Response]) -> Response | None:
        """The answer of another worker; None if it does not answer. Raises `RequestError` if it refuses."""
        try:
            data = f"{method}\n".encode() + request.SerializeToString()
            return _response(await self._cluster.backplane.request(self._cluster.names.admin(name), data, SLOW_ANSWER_S), kind)
        except BackplaneError as error:
            logger.info("worker %s does not answer: %s", name, error)
            return None

    async def get_device(self, request: pb.GetDeviceRequest) -> pb.GetDeviceResponse:
        """See `AdminService`."""
        return await self._at_home("GetDevice", request, request.device_id, self._own.get_device, pb.GetDeviceResponse)

    async def speak(self, request: pb.SpeakRequest) -> pb.SpeakResponse:
        """See `AdminService`. For a group, only its members at this relay speak."""
        check_reach(request.target, field="target")
        return await self._at_home("Speak", request, request.target, self._own.speak, pb.SpeakResponse, SLOW_ANSWER_S)

    async def interrupt(self, request: pb.InterruptRequest) -> pb.InterruptResponse:
        """See `AdminService`."""
        return await self._at_home("Interrupt", request, request.device_id, self._own.interrupt, pb.InterruptResponse)

    async def pause(self, request: pb.PauseRequest) -> pb.PauseResponse:
        """See `AdminService`."""
        return await self._at_home("Pause", request, request.device_id, self._own.pause, pb.PauseResponse)

    async def resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        """See `AdminService`."""
        return await self._at_home("Resume", request, request.device_id, self._own.resume, pb.ResumeResponse)

    async def set_volume(self, request: pb.SetVolumeRequest) -> pb.SetVolumeResponse:
        """See `AdminService`."""
        return await self._at_home("SetVolume", request, request.device_id, self._own.set_volume, pb.SetVolumeResponse)

    async def set_muted(self, request: pb.SetMutedRequest) -> pb.SetMutedResponse:
        """See `AdminService`."""
        return await self._at_home("SetMuted", request, request.device_id, self._own.set_muted, pb.SetMutedResponse)

    async def set_settings(self, request: pb.SetSettingsRequest) -> pb.SetSettingsResponse:
        """See `AdminService`."""
        return await self._at_home("SetSettings", request, request.device_id, self._own.set_settings, pb.SetSettingsResponse)

    async def restart_device(self, request: pb.RestartDeviceRequest) -> pb.RestartDeviceResponse:
        """See `AdminService`."""
        return await self._at_home("RestartDevice", request, request.device_id, self._own.restart_device, pb.RestartDeviceResponse)

    async def identify_device(self, request: pb.IdentifyDeviceRequest) -> pb.IdentifyDeviceResponse:
        """See `AdminService`."""
        return await self._at_home("IdentifyDevice", request, request.device_id, self._own.identify_device, pb.IdentifyDeviceResponse)

    async def update_device(self, request: pb.UpdateDeviceRequest) -> pb.UpdateDeviceResponse:
        """See `AdminService`."""
        return await self._at_home("UpdateDevice", request, request.device_id, self._own.update_device, pb.UpdateDeviceResponse)

    async def _at_home(
        self,
        method: str,
        request: Request,
        device_id: str,
        here: Callable[[Request], Awaitable[Response]],
        kind: type[Response],
        within_s: float = ANSWER_S,
    ) -> Response:
        """Have the request performed by the relay that has the device; by this one if it has the device, or if no relay has."""
        check_reach(device_id)
        if device_id in self._relay.config.groups:
            return await here(request)
        try:
            home = await self._cluster.home_of(device_id)
            if home is None:
                self._cluster.check_all_told()
            if home in (None, HERE):
                return await here(request)
            subject, data = self._cluster.names.admin(str(home)), f"{method}\n".encode() + request.SerializeToString()
            answer = await self._cluster.backplane.request(subject, data, within_s)
        except BackplaneError as error:
            text = f"device {device_id[:64]} is not here, and other relays cannot be asked now: {error}"
            raise RequestError(Fault(Reason.RELAY_UNREACHABLE, text, "device_id", 1_000)) from error
        return _response(answer, kind)

    async def _on_request(self, message: BackplaneMessage) -> None:
        """Answer a request from an operator at another relay, in its own task, so that a slow one does not delay others."""
        task = asyncio.create_task(self._answer(message))
        self._cluster.tasks.add(task)
        task.add_done_callback(self._cluster.tasks.discard)

    async def _answer(self, message: BackplaneMessage) -> None:
        name, _, data = message.data.partition(b"\n")
        if name == METHOD:
            await serve_watch(self._cluster, self._own, data)
            return
        try:
            kind, method = self._local[name.decode()]
            answer = _DONE + (await method(kind.FromString(data))).SerializeToString()
        except FaultError as error:
            answer = _FAULT + wire.fault_to_status(error.fault).SerializeToString()
        except (KeyError, UnicodeDecodeError, DecodeError):
            fault = Fault(Reason.MESSAGE_INVALID, f"relay {self._cluster.names.relay} does not know {name[:64]!r}")
            answer = _FAULT + wire.fault_to_status(fault).SerializeToString()
        except Exception:
            logger.exception("a request of another relay could not be performed: %r", name[:64])
            fault = Fault(Reason.RELAY_UNREACHABLE, f"relay {self._cluster.names.relay} could not perform it; it is logged there")
            answer = _FAULT + wire.fault_to_status(fault).SerializeToString()
        with suppress(BackplaneError):
            await self._cluster.backplane.publish(message.reply, answer)


def _response(answer: bytes, kind: type[Response]) -> Response:
    """Parse another relay's answer. Raises `RequestError`."""
    try:
        if answer[:1] == _DONE:
            return kind.FromString(answer[1:])
        status = status_pb2.Status.FromString(answer[1:])
    except DecodeError:
        raise RequestError(Fault(Reason.RELAY_UNREACHABLE, "another relay's answer cannot be read: is it of this version?")) from None
    raise RequestError(wire.fault_from_status(status))
