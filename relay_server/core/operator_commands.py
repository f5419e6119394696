"""Operators' commands to devices, independent of publishers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from avatar_relay.desk_settings import DESK_SETTINGS, refusals
from avatar_relay.device_state import Identify, Restart, Update
from avatar_relay.messages import Finished, Pause, Resume, Volume
from avatar_relay.reasons import Fault, FinishReason, Reason
from relay_server.core.delivery import Delivery
from relay_server.core.events import Effect, WakeDevice
from relay_server.core.finishing import cut_on
from relay_server.core.registry import Registry
from relay_server.core.session import Session
from relay_server.core.settings_record import SettingsRecord
from relay_server.errors import RequestError


class OperatorCommands:
    """Interrupts, pauses and configures devices. Methods raise `RequestError` if the device or conversation is unknown."""

    def __init__(self, registry: Registry, perform: Callable[[list[Effect]], None]) -> None:
        self._registry = registry
        self._perform = perform

    def interrupt(self, device_id: str, conversation_id: str = "") -> str:
        """Interrupt a conversation on a device; an empty id means the one that plays. Returns its id, empty if none played."""
        session = self.session(device_id)
        if conversation_id and conversation_id not in session.deliveries:
            text = f"no conversation {conversation_id[:64]!r} plays or waits on device {device_id}"
            raise RequestError(Fault(Reason.CONVERSATION_UNKNOWN, text, "conversation_id"))
        delivery = session.deliveries.get(conversation_id) or self._playing(session)
        if delivery is None or delivery.cut:
            return ""
        finished = Finished(0, interrupted=True, reason=FinishReason.INTERRUPTED.value)
        found = delivery.open.conversation_id
        self._perform(cut_on(self._registry, found, session, finished))
        return found

    def pause(self, device_id: str) -> str:
        """Pause the conversation that plays; returns its id, empty if none played."""
        return self._steer(device_id, Pause)

    def resume(self, device_id: str) -> str:
        """Resume the paused conversation; returns its id, empty if none was paused."""
        return self._steer(device_id, Resume)

    def _steer(self, device_id: str, command: type[Pause | Resume]) -> str:
        session = self.session(device_id)
        delivery = self._playing(session)
        if delivery is None or (command is Resume and not delivery.paused):
            return ""
        session.steer(command(delivery.open.conversation_id))
        self._perform([WakeDevice(device_id)])
        return delivery.open.conversation_id

    def set_volume(self, device_id: str, volume: Volume) -> Volume:
        """Set the volume of a device; returns the new volume."""
        session = self.session(device_id)
        self._perform(session.set_volume(volume))
        return session.volume.volume

    def set_muted(self, device_id: str, *, muted: bool) -> Volume:
        """Mute a device, or unmute it at its previous gain; returns the new volume."""
        return self.set_volume(device_id, replace(self.session(device_id).volume.volume, muted=muted))

    def change_settings(self, device_id: str, changes: dict[str, str]) -> SettingsRecord:
        """Change settings of a device; an empty value resets one. Returns the record with the pending settings.

        Raises `RequestError` if the device does not support settings, or one is invalid.
        """
        session = self.session(device_id)
        if not session.settings.supported:
            text = f"device {device_id} does not support settings: its program is too old, or it has no state folder"
            raise RequestError(Fault(Reason.SETTINGS_UNSUPPORTED, text, "device_id"))
        wrong = refusals({name: value for name, value in changes.items() if value or name not in DESK_SETTINGS})
        if wrong:
            text = "; ".join(f"{name} {reason}" for name, reason in wrong.items())
            raise RequestError(Fault(Reason.SETTINGS_INVALID, text[:1_000], "changes"))
        self._perform(session.change_settings(changes))
        return session.settings

    def act(self, device_id: str, action: Restart | Identify | Update) -> None:
        """Send an action to an attached device. Raises `RequestError` if the device is away."""
        session = self.session(device_id)
        if not session.attached:
            raise RequestError(Fault(Reason.DEVICE_AWAY, f"device {device_id} is away", "device_id"))
        session.outbox.put(action)
        self._perform([WakeDevice(device_id)])

    def session(self, device_id: str) -> Session:
        """The session of a device that is attached or within its lease."""
        session = self._registry.sessions.get(device_id)
        if session is None:
            text = f"no device of the name {device_id[:64]!r} is known here; ListDevices lists all"
            raise RequestError(Fault(Reason.DEVICE_UNKNOWN, text, "device_id"))
        return session

    @staticmethod
    def _playing(session: Session) -> Delivery | None:
        return next((delivery for delivery in session.deliveries.values() if not delivery.cut), None)
