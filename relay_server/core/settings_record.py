"""The settings of a device changed by operators. Pure. The rules of `pending_record` apply, and

- A device that refuses a change reports it, with the revision of that change and the settings it keeps. Then nothing is pending, and
  the refused settings are kept until the next change.
"""

from __future__ import annotations

from dataclasses import replace

from avatar_relay.device_state import DeviceSettings
from relay_server.core.pending_record import PendingRecord


class SettingsRecord(PendingRecord[DeviceSettings]):
    """One device's settings, as known to the relay."""

    def __init__(self, device_id: str) -> None:
        super().__init__(DeviceSettings(), lambda one, other: one.values == other.values)
        self.device_id = device_id
        self.supported = False
        """Whether the device accepts settings."""
        self.refused: tuple[tuple[str, str], ...] = ()
        """Names of the settings that the device refused in the last change, each with the reason."""

    def change(self, changes: dict[str, str]) -> None:
        """Change some settings; an empty value resets one."""
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
