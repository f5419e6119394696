"""The settings of a device that operators changed. Pure; the rules are those of `pending_record`, and

- A device that cannot take a change says so, with the revision of that change and what it keeps: then nothing is pending, and what it
  refused is remembered until the next change.
"""

from __future__ import annotations

from dataclasses import replace

from avatar_relay.device_state import DeviceSettings
from relay_server.core.pending_record import PendingRecord


class SettingsRecord(PendingRecord[DeviceSettings]):
    """One device's settings as the relay knows them."""

    def __init__(self, device_id: str) -> None:
        super().__init__(DeviceSettings(), lambda one, other: one.values == other.values)
        self.device_id = device_id
        self.supported = False
        """The device takes settings."""
        self.refused: tuple[tuple[str, str], ...] = ()
        """What the device did not take of the last change, and why."""

    def change(self, changes: dict[str, str]) -> None:
        """Somebody changes some of them; an empty value takes one back."""
        merged = dict(self.value.values) | changes
        self.set(DeviceSettings(tuple(sorted((name, value) for name, value in merged.items() if value))))
        self.refused = ()

    def hello(self, told: DeviceSettings | None) -> bool:
        """See `PendingRecord`."""
        self.supported = told is not None
        return super().hello(None if told is None else replace(told, refused=()))

    def told(self, told: DeviceSettings) -> bool:
        """See `PendingRecord`."""
        kept = replace(told, refused=())
        if self.pending and told.refused and told.revision >= self.value.revision:
            self.refused = told.refused
            return self._take(kept)
        return super().told(kept)
