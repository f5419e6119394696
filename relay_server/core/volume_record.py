"""How loud a device is set. Pure; the rules are those of `pending_record`."""

from __future__ import annotations

from avatar_relay.messages import Volume
from relay_server.core.events import VolumeChanged
from relay_server.core.pending_record import PendingRecord

_SAME_GAIN = 1e-6
"""The wire rounds a gain to 24 bits."""


class VolumeRecord(PendingRecord[Volume]):
    """One device's volume as the relay knows it."""

    def __init__(self, device_id: str) -> None:
        super().__init__(Volume(), _same)
        self._device_id = device_id

    @property
    def volume(self) -> Volume:
        """As it is set."""
        return self.value

    @property
    def notice(self) -> VolumeChanged:
        """What watchers are told of it."""
        return VolumeChanged(self._device_id, self.value, self.pending)


def _same(one: Volume, other: Volume) -> bool:
    return abs(one.gain - other.gain) < _SAME_GAIN and one.muted == other.muted
