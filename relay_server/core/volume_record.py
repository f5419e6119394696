"""How loud a device is set: what the device stores, and what it has still to confirm. Pure.

Rules
- The device stores its volume and tells it in `hello`, with a revision. The relay numbers what operators and publishers set: one more than
  the last revision that it knows of the device.
- What was set is pending until the device tells that it has stored the same values, with a revision not below.
- A `hello` tells what the device plays, stored or not: it confirms nothing. What is pending then gets a revision above the device's, and
  goes out in `welcome`.
- Without anything pending, what the device tells holds.
- A device that tells no volume confirms nothing: what was last set goes out in each `welcome`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from avatar_relay.messages import Volume
from relay_server.core.events import VolumeChanged

MAX_PENDING = 4_096
"""Devices without a session whose pending volume is remembered; beyond that the longest unchanged is forgotten."""
_SAME_GAIN = 1e-6
"""The wire rounds a gain to 24 bits."""


class VolumeRecord:
    """One device's volume as the relay knows it."""

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self.volume = Volume()
        self.pending = False
        """It was set, and the device has not confirmed it."""

    @property
    def notice(self) -> VolumeChanged:
        """What watchers are told of it."""
        return VolumeChanged(self._device_id, self.volume, self.pending)

    def set(self, volume: Volume) -> None:
        """Somebody sets it; the revision that comes with it does not count."""
        self.volume = replace(volume, revision=self.volume.revision + 1)
        self.pending = True

    def hello(self, told: Volume | None) -> bool:
        """A device's `hello` tells its volume; returns whether what is known has changed. What `volume` is then goes into `welcome`."""
        if told is None:
            return False
        if self.pending:
            self.volume = replace(self.volume, revision=max(self.volume.revision, told.revision + 1))
            return False
        return self._take(told)

    def told(self, told: Volume) -> bool:
        """A device tells what it has stored; returns whether what is known has changed."""
        return (not self.pending or self._confirms(told)) and self._take(told)

    def _confirms(self, told: Volume) -> bool:
        same = abs(told.gain - self.volume.gain) < _SAME_GAIN and told.muted == self.volume.muted
        return same and told.revision >= self.volume.revision

    def _take(self, told: Volume) -> bool:
        before = self.volume, self.pending
        self.volume, self.pending = told, False
        return before != (told, False)


class PendingVolumes:
    """What is pending for devices whose session ended."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, VolumeRecord] = OrderedDict()

    def keep(self, device_id: str, record: VolumeRecord) -> None:
        """A session ends."""
        if record.pending:
            self._records[device_id] = record
            if len(self._records) > MAX_PENDING:
                self._records.popitem(last=False)

    def take(self, device_id: str) -> VolumeRecord:
        """A session begins: what was pending for the device, else a new record."""
        return self._records.pop(device_id, None) or VolumeRecord(device_id)
