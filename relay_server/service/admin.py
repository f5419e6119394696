"""AdminService, for `relayctl` and grpcurl."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol, assert_never

from google.protobuf.message import Message

from avatar_relay import wire
from avatar_relay.desk_settings import MAX_DESK_SETTINGS
from avatar_relay.device_state import Identify, Restart, Update
from avatar_relay.limits import MAX_ID_CHARACTERS, MAX_NAMES
from avatar_relay.media import AS_MOTION_SAYS, Expression, OnPlaying
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import media_pb2
from relay_server.access.caller import current_caller
from relay_server.connections.relay import Relay
from relay_server.connections.watching import Watched
from relay_server.core.events import (
    ConversationEnded,
    ConversationFaulted,
    ConversationOpened,
    DeviceAttached,
    DeviceDetached,
    DeviceLost,
    PlayerTold,
    Shown,
    VolumeChanged,
)
from relay_server.core.session import Session
from relay_server.core.settings_record import SettingsRecord
from relay_server.errors import RequestError
from relay_server.service.calls import server_stream, service, unary
from relay_server.sources.source import NamedSpeech, TextSpeech, VoiceWish

NAME = pb.DESCRIPTOR.services_by_name["AdminService"].full_name

WATCH_HEARTBEAT_S = 2.0
"""A watcher that requests heartbeats gets one after this time without an event."""
Write = Callable[[Message], Awaitable[None]]


class Speech(Protocol):
    """Makes devices speak."""

    async def speak(
        self,
        target: str,
        speech: TextSpeech | NamedSpeech,
        on_playing: OnPlaying,
        *,
        expression: Expression = AS_MOTION_SAYS,
        owner: str = "",
    ) -> tuple[str, str]:
        """Start to speak on `target`, for the identity `owner`.

        Returns the conversation id and trace id (empty if tracing is off). Raises `FaultError` if it fails.
        """
        ...


Pair = Callable[[pb.PairDeviceRequest], Awaitable[pb.PairDeviceResponse]]
"""Pairs a waiting device. Raises `RequestError` if it fails."""


class AdminService:
    """Lists, watches and controls devices."""

    def __init__(self, relay: Relay, speech: Speech, pair: Pair | None = None) -> None:
        """Without `pair`, `PairDevice` fails."""
        self._relay = relay
        self._speech = speech
        self._pair = pair

    def handler(self) -> Any:
        """For `add_generic_rpc_handlers`."""
        return service(
            NAME,
            {
                "ListDevices": unary(pb.ListDevicesRequest, self.list_devices),
                "GetDevice": unary(pb.GetDeviceRequest, self.get_device),
                "Speak": unary(pb.SpeakRequest, self.speak),
                "Interrupt": unary(pb.InterruptRequest, self.interrupt),
                "Pause": unary(pb.PauseRequest, self.pause),
                "Resume": unary(pb.ResumeRequest, self.resume),
                "SetVolume": unary(pb.SetVolumeRequest, self.set_volume),
                "SetMuted": unary(pb.SetMutedRequest, self.set_muted),
                "Drain": unary(pb.DrainRequest, self.drain),
                "PairDevice": unary(pb.PairDeviceRequest, self.pair_device),
                "SetSettings": unary(pb.SetSettingsRequest, self.set_settings),
                "RestartDevice": unary(pb.RestartDeviceRequest, self.restart_device),
                "IdentifyDevice": unary(pb.IdentifyDeviceRequest, self.identify_device),
                "UpdateDevice": unary(pb.UpdateDeviceRequest, self.update_device),
                "WatchEvents": server_stream(pb.WatchEventsRequest, self.watch_events),
            },
        )

    async def list_devices(self, _request: pb.ListDevicesRequest) -> pb.ListDevicesResponse:
        """`ListDevices`."""
        return pb.ListDevicesResponse(devices=[self._device(session) for session in self._relay.sessions() if may_reach(session.device_id)])

    async def get_device(self, request: pb.GetDeviceRequest) -> pb.GetDeviceResponse:
        """`GetDevice`."""
        check_reach(request.device_id)
        return pb.GetDeviceResponse(device=self._device(self._relay.operator.session(request.device_id)))

    async def speak(self, request: pb.SpeakRequest) -> pb.SpeakResponse:
        """`Speak`."""
        check_reach(request.target, field="target")
        said = request.WhichOneof("speech")
        if said is None:
            raise RequestError(Fault(Reason.SPEECH_MISSING, "pass `text`, or `file` in the speech folder", "speech"))
        speech: TextSpeech | NamedSpeech
        if said == "file":
            speech = NamedSpeech(request.file, wire.angle_unit_from_wire(request.angle_unit))
        else:
            voice = VoiceWish(
                request.voice or None,
                request.words_per_minute if request.HasField("words_per_minute") else None,
                request.pitch if request.HasField("pitch") else None,
            )
            speech = TextSpeech(getattr(request, said), voice, is_ssml=said == "ssml")
        conversation_id, trace_id = await self._speech.speak(
            request.target,
            speech,
            wire.on_playing_from_wire(request.on_playing),
            expression=wire.expression_from_wire(request, "expression"),
            owner=current_caller().key,
        )
        return pb.SpeakResponse(conversation_id=conversation_id, trace_id=trace_id)

    async def interrupt(self, request: pb.InterruptRequest) -> pb.InterruptResponse:
        """`Interrupt`."""
        check_reach(request.device_id)
        return pb.InterruptResponse(conversation_id=self._relay.operator.interrupt(request.device_id, request.conversation_id))

    async def pause(self, request: pb.PauseRequest) -> pb.PauseResponse:
        """`Pause`."""
        check_reach(request.device_id)
        return pb.PauseResponse(conversation_id=self._relay.operator.pause(request.device_id))

    async def resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        """`Resume`."""
        check_reach(request.device_id)
        return pb.ResumeResponse(conversation_id=self._relay.operator.resume(request.device_id))

    async def set_volume(self, request: pb.SetVolumeRequest) -> pb.SetVolumeResponse:
        """`SetVolume`."""
        check_reach(request.device_id)
        if not request.HasField("volume"):
            raise RequestError(Fault(Reason.VOLUME_INVALID, "pass `volume`", "volume"))
        volume = wire.VOLUME.from_wire(request.volume)
        return pb.SetVolumeResponse(volume=wire.VOLUME.to_wire(self._relay.operator.set_volume(request.device_id, volume)))

    async def set_muted(self, request: pb.SetMutedRequest) -> pb.SetMutedResponse:
        """`SetMuted`."""
        check_reach(request.device_id)
        volume = self._relay.operator.set_muted(request.device_id, muted=request.muted)
        return pb.SetMutedResponse(volume=wire.VOLUME.to_wire(volume))

    async def drain(self, request: pb.DrainRequest) -> pb.DrainResponse:
        """`Drain`."""
        if (refusal := current_caller().drain_refusal()) is not None:
            raise RequestError(refusal)
        return pb.DrainResponse(conversations=self._relay.ask_to_drain(request.grace_ms * 1_000))

    async def pair_device(self, request: pb.PairDeviceRequest) -> pb.PairDeviceResponse:
        """`PairDevice`."""
        if self._pair is None:
            text = "this relay does not support pairing: it needs TLS, an access file, the package spake2, and `pairing` not set to off"
            raise RequestError(Fault(Reason.PAIRING_FAILED, text))
        return await self._pair(request)

    async def set_settings(self, request: pb.SetSettingsRequest) -> pb.SetSettingsResponse:
        """`SetSettings`."""
        check_reach(request.device_id)
        if not 0 < len(request.changes) <= MAX_DESK_SETTINGS:
            text = f"{len(request.changes)} changes; 1 to {MAX_DESK_SETTINGS} are taken at a time"
            raise RequestError(Fault(Reason.SETTINGS_INVALID, text, "changes"))
        record = self._relay.operator.change_settings(request.device_id, {one.name: one.value for one in request.changes})
        return pb.SetSettingsResponse(settings=wire.SETTINGS.to_wire(record.value))

    async def restart_device(self, request: pb.RestartDeviceRequest) -> pb.RestartDeviceResponse:
        """`RestartDevice`."""
        check_reach(request.device_id)
        self._relay.operator.act(request.device_id, Restart())
        return pb.RestartDeviceResponse()

    async def identify_device(self, request: pb.IdentifyDeviceRequest) -> pb.IdentifyDeviceResponse:
        """`IdentifyDevice`."""
        check_reach(request.device_id)
        self._relay.operator.act(request.device_id, Identify())
        return pb.IdentifyDeviceResponse()

    async def update_device(self, request: pb.UpdateDeviceRequest) -> pb.UpdateDeviceResponse:
        """`UpdateDevice`."""
        check_reach(request.device_id)
        self._relay.operator.act(request.device_id, Update())
        return pb.UpdateDeviceResponse()

    async def watch_events(self, request: pb.WatchEventsRequest, write: Write) -> None:
        """`WatchEvents`: runs until the caller or the relay ends it."""
        if len(request.device_ids) > MAX_NAMES:
            text = f"{len(request.device_ids)} devices; at most {MAX_NAMES} are watched by name: name none to watch all"
            raise RequestError(Fault(Reason.MESSAGE_INVALID, text, "device_ids"))
        if any(len(name) > MAX_ID_CHARACTERS for name in request.device_ids):
            raise RequestError(Fault(Reason.MESSAGE_INVALID, f"a name has at most {MAX_ID_CHARACTERS} characters", "device_ids"))
        check_reach(*request.device_ids, field="device_ids")
        with self._relay.watch(frozenset(request.device_ids), current_caller().key) as watcher:
            if request.heartbeat:
                await write(pb.WatchEventsResponse())
            while True:
                try:
                    async with asyncio.timeout(WATCH_HEARTBEAT_S if request.heartbeat else None):
                        watched = await watcher.receive()
                except TimeoutError:
                    await write(pb.WatchEventsResponse())
                    continue
                if watched is None:
                    return
                if may_reach(watched.device_id) or watched.notice is None:
                    await write(_watched_to_wire(watched))

    def _device(self, session: Session) -> pb.Device:
        hello = session.hello
        return pb.Device(
            device_id=session.device_id,
            attached=session.attached,
            software_version=hello.software_version,
            output_rate_hz=hello.output_rate_hz,
            codecs=[wire.CODEC_TO_WIRE[codec] for codec in hello.codecs],
            motion_encodings=[wire.ENCODING_TO_WIRE[encoding] for encoding in hello.motion_encodings],
            lease_remaining_ms=self._relay.lease_remaining_us(session) // 1_000,
            volume=wire.VOLUME.to_wire(session.volume.volume),
            volume_pending=session.volume.pending,
            settings=_settings_to_wire(session.settings),
            settings_pending=session.settings.pending,
            parts=[wire.PART.to_wire(part) for part in session.parts],
            conversations=[
                pb.DeviceConversation(
                    conversation_id=delivery.open.conversation_id,
                    publisher_id=delivery.publisher,
                    ended=delivery.end is not None,
                    paused=delivery.paused,
                    sent=wire.CURSOR.to_wire(delivery.sent),
                    held=wire.CURSOR.to_wire(delivery.held),
                )
                for delivery in session.deliveries.values()
            ],
            credit=wire.CREDIT.to_wire(session.outbox.credit),
            waiting=wire.CREDIT.to_wire(session.outbox.waiting_by_kind()),
        )


def _settings_to_wire(record: SettingsRecord) -> media_pb2.DeviceSettings | None:
    if not record.supported:
        return None
    converted: media_pb2.DeviceSettings = wire.SETTINGS.to_wire(replace(record.value, refused=record.refused))
    return converted


def may_reach(device_id: str) -> bool:
    """Whether the caller may reach a device."""
    return current_caller().target_refusal((device_id,), "device_id") is None


def check_reach(*targets: str, field: str = "device_id") -> None:
    """Raise `RequestError` if the caller may not reach one of the targets."""
    if (refusal := current_caller().target_refusal(targets, field)) is not None:
        raise RequestError(refusal)


def _watched_to_wire(watched: Watched) -> pb.WatchEventsResponse:
    response = pb.WatchEventsResponse(unix_time_us=watched.unix_time_us, device_id=watched.device_id)
    if watched.notice is None:
        response.missed = watched.missed
    else:
        _fill(response, watched.notice)
    return response


def _fill(response: pb.WatchEventsResponse, notice: Shown) -> None:
    match notice:
        case DeviceAttached():
            response.attached.resumed = notice.resumed
        case DeviceDetached():
            response.detached.reason = notice.reason
        case DeviceLost():
            response.lost.reason = notice.reason
        case VolumeChanged():
            response.volume.volume.CopyFrom(wire.VOLUME.to_wire(notice.volume))
            response.volume.pending = notice.pending
        case ConversationOpened():
            response.conversation_id = notice.open.conversation_id
            response.opened.publisher_id = notice.publisher_id
        case ConversationEnded():
            response.conversation_id = notice.last.conversation_id
            response.ended.last.CopyFrom(wire.CURSOR.to_wire(notice.last))
        case PlayerTold():
            response.conversation_id = notice.event.conversation_id
            response.player.CopyFrom(wire.EVENT.to_wire(notice.event))
        case ConversationFaulted():
            response.conversation_id = notice.conversation_id
            response.error.CopyFrom(wire.fault_to_status(notice.fault))
        case _:
            assert_never(notice)
