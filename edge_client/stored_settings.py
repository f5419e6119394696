"""Settings that operators changed from a relay. The device stores them: from its next start on they override its own.

Rules
- Received settings are complete, and replace the stored ones. If one is invalid, nothing changes, and the reason is reported to the relay.
- Each change gets a revision, refused or not: that of the relay, or one more than the last if that is greater.
- A change is written a little later (see `edge_client.state`), and reported to the relay when it is on the disk.
- The settings in `welcome` are a change if their revision is above the device's own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avatar_relay.desk_settings import DESK_SETTINGS, refusals
from avatar_relay.device_state import DeviceSettings
from avatar_relay.errors import ConfigError
from edge_client.config import EdgeConfig
from edge_client.state import StateFile, StateWriter

logger = logging.getLogger(__name__)

MAX_REVISION = 1 << 53


class StoredSettings:
    """The settings, and their file. Belongs to one thread, except for `close`."""

    def __init__(self, file: StateFile, config: EdgeConfig) -> None:
        """Read `file`. `config` are the device's own settings, without the stored ones."""
        self._own = config
        self._writer = StateWriter(file)
        self.settings = DeviceSettings()
        self.config = config
        """The device's own settings merged with those stored at creation."""
        try:
            self.settings = _read(file.read())
            self.config = with_settings(config, dict(self.settings.values))
        except ValueError as error:
            logger.warning("%s: %s; ignored", file.path, error)
        self._told = self.settings

    def set(self, settings: DeviceSettings) -> None:
        """Apply a change from the relay."""
        revision = max(self.settings.revision + 1, settings.revision)
        refused = self._refused(dict(settings.values))
        if refused:
            logger.warning("settings from the relay are not taken: %s", "; ".join(f"{name} {reason}" for name, reason in refused.items()))
            self.settings = replace(self.settings, revision=revision, refused=tuple(refused.items()))
        else:
            logger.info("settings from the relay, for the next start: %s", dict(settings.values) or "none")
            self.settings = DeviceSettings(settings.values, revision)
        self._writer.put(_written(self.settings))

    def welcome(self, settings: DeviceSettings | None) -> None:
        """Apply the settings that a relay sends when the device attaches."""
        if settings is not None and settings.revision > self.settings.revision:
            self.set(settings)

    def news(self) -> DeviceSettings | None:
        """The settings that are on the disk, if they have not been reported."""
        if self.settings == self._told or self._writer.written != _written(self.settings):
            return None
        self._told = self.settings
        return self._told

    def close(self) -> None:
        """Write pending changes now. Blocks for as long as the disk does."""
        self._writer.close()

    def _refused(self, values: dict[str, str]) -> dict[str, str]:
        if wrong := refusals(values):
            return wrong
        found = {}
        for name, value in values.items():
            try:
                with_settings(self._own, {name: value})
            except ValueError as error:
                found[name] = str(error).removeprefix(f"{name}: ")
        return found


def desk_settings_file(folder: Path, device_id: str) -> StateFile:
    """The file for settings set by operators."""
    return StateFile(folder / f"settings-{device_id}.json")


def with_settings(config: EdgeConfig, values: Mapping[str, str]) -> EdgeConfig:
    """Settings with some of them changed. Raises `ValueError` that names the invalid ones."""
    for name, reason in refusals(values).items():
        raise ValueError(f"{name}: {reason}")
    changes: dict[str, Any] = {name: DESK_SETTINGS[name].read(value) for name, value in values.items()}
    try:
        return replace(config, **changes)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _written(settings: DeviceSettings) -> dict[str, Any]:
    return {"settings": dict(settings.values), "revision": settings.revision}


def _read(content: Mapping[str, Any]) -> DeviceSettings:
    if not content:
        return DeviceSettings()
    values, revision = content.get("settings"), content.get("revision")
    if type(revision) is not int or not 0 <= revision <= MAX_REVISION:
        raise ValueError("it has no revision")
    if not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("its settings are no texts")
    return DeviceSettings(tuple(sorted(values.items())), revision)
