"""Tracks what the devices report: state, position and outcome of one conversation; removes repeated events.

Rules:
1. A conversation plays on the devices that `opened` names; it is over when each of them has finished it.
2. State over several devices: playing if any of them plays, else paused if any is paused, else idle.
3. A fault ends it at once if the relay reports that it never was, or is no longer, ours. What is over stays over.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from avatar_relay.messages import Finished, Paused, PlayerEvent, PlayerEventBody, Resumed, Started
from avatar_relay.reasons import Fault

MAX_REMEMBERED_EVENTS = 4_096
"""Events remembered to detect repeats; devices repeat only unacknowledged events, so few are ever pending."""


class PlaybackState(enum.Enum):
    """AvatarKit's conversation states."""

    IDLE = "idle"
    PLAYING = "playing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class ConversationFinished:
    """How a conversation ended on each device, with a summary."""

    conversation_id: str
    by_device: Mapping[str, Finished]

    @property
    def position_us(self) -> int:
        """PTS of the last sample played on the device that got furthest."""
        return max((finished.position_us for finished in self.by_device.values()), default=0)

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted on any device."""
        return any(finished.interrupted for finished in self.by_device.values())

    @property
    def reason(self) -> str:
        """The reason if all devices share it, else `mixed`; see `FinishReason`.

        `completed`: all of it was played. `publisher_lost`, `failed`: not all of it reached the relay before the relay ended it, after the
        publisher's lease or a fault (see `ConversationError`).
        """
        reasons = {finished.reason for finished in self.by_device.values()}
        return reasons.pop() if len(reasons) == 1 else "mixed"


class PlaybackTracker:
    """The known playback state of one conversation. Pure."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation_id = conversation_id
        self._devices: tuple[str, ...] | None = None
        self._states: dict[str, PlaybackState] = {}
        self._finished: dict[str, Finished] = {}
        self.position_us = 0
        """The last reported position; 0 before the first report."""
        self._fault: Fault | None = None

    @property
    def is_opened(self) -> bool:
        """Whether the relay opened it."""
        return self._devices is not None

    @property
    def device_ids(self) -> tuple[str, ...]:
        """The devices it is open on; empty before it is opened."""
        return self._devices or ()

    @property
    def state(self) -> PlaybackState:
        """Combined state of all devices (rule 2)."""
        states = set(self._states.values())
        for state in (PlaybackState.PLAYING, PlaybackState.PAUSED):
            if state in states:
                return state
        return PlaybackState.IDLE

    @property
    def outcome(self) -> ConversationFinished | Fault | None:
        """How it ended; None while it is not over."""
        if self._fault is not None:
            return self._fault
        if self._devices is None or not self._finished.keys() >= set(self._devices):
            return None
        return ConversationFinished(self._conversation_id, MappingProxyType(dict(self._finished)))

    def is_finished_on(self, device_id: str) -> bool:
        """Whether a device has finished it."""
        return device_id in self._finished

    def on_opened(self, device_ids: tuple[str, ...]) -> None:
        """Record the devices on which it was opened."""
        if self.outcome is None:
            self._devices = device_ids

    def on_event(self, event: PlayerEvent) -> None:
        """Process a device's event; a second `finished` of a device is ignored, and so is the relay's own summary (no device)."""
        device_id, body = event.device_id, event.body
        if not device_id or device_id in self._finished:
            return
        match body:
            case Started():
                self._states[device_id] = PlaybackState.PLAYING
            case Paused(position_us):
                self._states[device_id], self.position_us = PlaybackState.PAUSED, position_us
            case Resumed(position_us):
                self._states[device_id], self.position_us = PlaybackState.PLAYING, position_us
            case Finished(position_us):
                self._states[device_id], self.position_us = PlaybackState.IDLE, position_us
                self._finished[device_id] = body
            case _:
                pass

    def fail(self, fault: Fault) -> None:
        """End it without `finished`; the first outcome stays. If devices finished it but `opened` was lost with a stream, the outcome is
        that of its devices.
        """
        if self._devices is None and self._finished:
            self._devices = tuple(self._finished)
        if self.outcome is None:
            self._fault = fault
            self._states.clear()


class SeenEvents:
    """Tells new events from repeated ones. Pure.

    An event is identified by device, id, conversation and content: a device that moves to a new relay counts its events from 1 again, also
    those of conversations that continue there.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int, str, PlayerEventBody], None] = OrderedDict()

    def is_new(self, event: PlayerEvent) -> bool:
        """Whether the event is new; remembers it.

        Events made by the relay have no id and are not repeated, except for ends: those are resent to a publisher that reconnects.
        """
        if not event.event_id and not isinstance(event.body, Finished):
            return True
        key = (event.device_id, event.event_id, event.conversation_id, event.body)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > MAX_REMEMBERED_EVENTS:
            self._seen.popitem(last=False)
        return True
