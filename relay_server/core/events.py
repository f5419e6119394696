"""What the cores answer: effects for the relay to perform, and notices of what happened.

An effect addresses a publisher, or wakes a device's stream. A notice tells watchers and the observer; nothing depends on it.
What is bound for a device goes into its session's outbox instead, because only its credit says when it may be sent.
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
    """Send `message` to the publisher with this key, or keep it for its return."""

    publisher: str
    message: ToPublisher


@dataclass(frozen=True, slots=True)
class WakeDevice:
    """The device's outbox may have something to send."""

    device_id: str


@dataclass(frozen=True, slots=True)
class WakeForMedia:
    """Media waits in the device's outbox, and nothing else: this may wait for the tick."""

    device_id: str


# --- notices -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceAttached:
    """A device's stream is up; `resumed` where its session goes on."""

    device_id: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class DeviceDetached:
    """A device's stream ended; its lease runs."""

    device_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device's session ended: `lease_expired`, `goodbye` or `replaced`."""

    device_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class VolumeChanged:
    """A device's volume is another, or is confirmed; `pending` if the device has not confirmed it."""

    device_id: str
    volume: Volume
    pending: bool


@dataclass(frozen=True, slots=True)
class ConversationOpened:
    """A conversation is open on these devices."""

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
    """Something is wrong with a conversation; `device_id` is empty if it concerns no single device."""

    conversation_id: str
    device_id: str
    fault: Fault


class PayloadsReceived(NamedTuple):
    """Payloads of one kind, or fragments of them, were taken from a publisher. As cheap as can be: one comes with every message."""

    conversation_id: str
    kind: Kind
    payloads: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlayerTold:
    """A player told something, or the relay in its place (`event_id` 0)."""

    event: PlayerEvent


@dataclass(frozen=True, slots=True)
class FinishedIgnored:
    """A device told the end of a conversation that had finished already."""

    device_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class MessageUnknown:
    """A message that this version does not know came on leg `device` or `publisher`."""

    leg: str


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream on leg `device` or `publisher` ended with a fault."""

    leg: str
    fault: Fault


Shown = (
    DeviceAttached | DeviceDetached | DeviceLost | VolumeChanged | ConversationOpened | ConversationEnded | ConversationFaulted | PlayerTold
)
"""Notices that watchers see too."""
Notice = Shown | FinishedIgnored | MessageUnknown | StreamFailed
Effect = TellPublisher | WakeDevice | WakeForMedia | Shown | PayloadsReceived | FinishedIgnored
