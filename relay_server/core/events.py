"""Results of the core: effects for the relay to perform, and notices of what happened.

An effect addresses a publisher, or wakes a device's stream. A notice informs watchers and the observer; nothing else depends on it.
Messages for a device go into its session's outbox instead, because its credit determines when they may be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from avatar_relay.media import ConversationOpen, Cursor, Kind
from avatar_relay.messages import PlayerEvent, ToPublisher, Volume
from avatar_relay.reasons import Fault

# --- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TellPublisher:
    """Send `message` to the publisher with this key, or queue it until the publisher reconnects."""

    publisher: str
    message: ToPublisher


@dataclass(frozen=True, slots=True)
class WakeDevice:
    """The device's outbox may have something to send."""

    device_id: str


@dataclass(frozen=True, slots=True)
class WakeForMedia:
    """The device's outbox has new media only, which may wait for the media tick."""

    device_id: str


# --- notices -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceAttached:
    """A device attached; `resumed` if its session continues."""

    device_id: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class DeviceDetached:
    """A device's stream ended; its lease began."""

    device_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device's session ended: `lease_expired`, `goodbye`, `replaced` or `moved`."""

    device_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class VolumeChanged:
    """A device's volume changed or was confirmed; `pending` if the device has not confirmed it."""

    device_id: str
    volume: Volume
    pending: bool


@dataclass(frozen=True, slots=True)
class ConversationOpened:
    """A conversation was opened on these devices."""

    open: ConversationOpen
    publisher_id: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """All media of a conversation was published."""

    last: Cursor
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConversationFaulted:
    """A conversation has a fault; `device_id` is empty if it concerns no single device."""

    conversation_id: str
    device_id: str
    fault: Fault


class PayloadsReceived(NamedTuple):
    """Payloads of one kind, or fragments of them, were accepted from a publisher. A `NamedTuple` for speed: one for every message."""

    conversation_id: str
    kind: Kind
    payloads: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlayerTold:
    """A player event, from a device or made by the relay (`event_id` 0)."""

    event: PlayerEvent


@dataclass(frozen=True, slots=True)
class FinishedIgnored:
    """A device reported the end of a conversation that had finished already."""

    device_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class MessageUnknown:
    """A message unknown to this version arrived on leg `device` or `publisher`."""

    leg: str


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream on leg `device` or `publisher` ended with a fault."""

    leg: str
    fault: Fault


Shown = (
    DeviceAttached | DeviceDetached | DeviceLost | VolumeChanged | ConversationOpened | ConversationEnded | ConversationFaulted | PlayerTold
)
"""Notices that are also sent to watchers."""
Notice = Shown | FinishedIgnored | MessageUnknown | StreamFailed
Effect = TellPublisher | WakeDevice | WakeForMedia | Shown | PayloadsReceived | FinishedIgnored
