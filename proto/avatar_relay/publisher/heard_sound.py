"""Estimates when a conversation's audio has been played to its end, from the reports of a device.

Rules:
1. The first device that starts is the one that counts: in a group it finishes first.
2. Audio plays in real time from `Started` on; a pause or a stall delays the end by its duration.
3. A device that runs dry within `DRY_US` of the end has played all of it, and so has one that runs dry in audio of unknown length.
"""

from __future__ import annotations

from avatar_relay.media import Kind
from avatar_relay.messages import Paused, PlayerEventBody, Resumed, Stalled, Started

DRY_US = 1_000_000


class HeardSound:
    """The end of one conversation's audio on the first device. Pure; times are µs of the caller's clock."""

    def __init__(self) -> None:
        self._device_id: str | None = None
        self._from_us = 0
        self._held_us: int | None = None
        """Start of the current pause or stall; None while it plays."""
        self._is_dry = False

    @property
    def has_begun(self) -> bool:
        """Whether playback has begun."""
        return self._device_id is not None

    def on_event(self, device_id: str, body: PlayerEventBody, now_us: int) -> None:
        """Process an event of a device."""
        if isinstance(body, Started) and self._device_id is None:
            self._device_id, self._from_us = device_id, now_us
        if device_id != self._device_id:
            return
        match body:
            case Paused():
                self._hold(now_us)
            case Stalled(True, Kind.AUDIO):
                self._is_dry = True
                self._hold(now_us)
            case Resumed() | Stalled(False, Kind.AUDIO):
                self._from_us += now_us - (now_us if self._held_us is None else self._held_us)
                self._held_us, self._is_dry = None, False

    def over_us(self, length_us: int | None) -> int | None:
        """When audio of this length (None: unknown) is over; None while unknown."""
        if self._device_id is None:
            return None
        if self._held_us is None:
            return None if length_us is None else self._from_us + length_us
        if self._is_dry and (length_us is None or self._held_us >= self._from_us + length_us - DRY_US):
            return self._held_us
        return None

    def _hold(self, now_us: int) -> None:
        self._held_us = now_us if self._held_us is None else self._held_us
