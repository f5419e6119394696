"""The volume of a device. Pure. The rules of `pending_record` apply."""

from __future__ import annotations

from avatar_relay.messages import Volume
from relay_server.core.events import VolumeChanged
from relay_server.core.pending_record import PendingRecord

_SAME_GAIN = 1e-6
"""Tolerance for comparing gains: the wire rounds them to 24 bits."""


class VolumeRecord(PendingRecord[Volume]):
    """One device's volume, as known to the relay."""

    def __init__(self, device_id: str) -> None:
        super().__init__(Volume(), _same)
        self._device_id = device_id

    @property
    def volume(self) -> Volume:
        """The current volume."""
        return self.value

    @property
    def notice(self) -> VolumeChanged:
        """The notice for watchers."""
        return VolumeChanged(self._device_id, self.value, self.pending)


def _same(one: Volume, other: Volume) -> bool:
    return abs(one.gain - other.gain) < _SAME_GAIN and one.muted == other.muted
