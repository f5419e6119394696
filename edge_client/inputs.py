"""Files that the settings name, opened at the start: what is wrong with one is a `ConfigError` that names its setting."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from avatar_relay.errors import ConfigError
from edge_client.audio.sinks.wav import WavTap
from edge_client.config import AUTO, LOCAL_RELAY, EdgeConfig, device_name
from edge_client.errors import AssetError
from edge_client.link.attach_call import Endpoint
from edge_client.link.credentials import CredentialFiles
from edge_client.link.relay_choice import endpoint_of_pairing, paired_of
from edge_client.link.relay_finder import FoundRelay, RelayFinder
from edge_client.motion.avatarkit import FlameMap, load_flame_map
from edge_client.state import state_folder
from edge_client.stored_settings import StoredSettings, desk_settings_file


def credentials_of(config: EdgeConfig) -> CredentialFiles:
    """What the device shows a relay. Raises `ConfigError` if certificates, key or token cannot be used."""
    return CredentialFiles(config, lambda: int(time.time()))


def endpoint_of(config: EdgeConfig) -> Endpoint:
    """The relay as far as it is known without a search: that of the settings, or the one that the device is paired with.

    Raises as `credentials_of`.
    """
    files = credentials_of(config)
    if (paired := paired_of(config, state_folder(os.environ, Path.home))) is not None:
        return endpoint_of_pairing(paired, paired.address)
    first, *others = (LOCAL_RELAY,) if config.relay == AUTO else config.relay
    return Endpoint(first, config.tls, files, tuple(others))


def as_operators_set(config: EdgeConfig) -> EdgeConfig:
    """The settings with those that operators set from a relay: what counts for this device at its next start."""
    folder = state_folder(os.environ, Path.home)
    if folder is None:
        return config
    paired = paired_of(config, folder)
    device_id = paired.device_id if paired is not None else device_name(config.device_id, platform.node())
    return StoredSettings(desk_settings_file(folder, device_id), config).config


def find_relay(config: EdgeConfig, within_s: float) -> FoundRelay | None:
    """The relay that an unpaired device without an address would take; None if none is found in time. Blocks."""
    until_s = time.monotonic() + within_s

    def wait(seconds: float) -> bool:
        time.sleep(max(0.0, min(seconds, until_s - time.monotonic())))
        return time.monotonic() >= until_s

    return RelayFinder(config, wait).find()


def flame_map_of(config: EdgeConfig) -> FlameMap | None:
    """The map of the settings; None if the one that ships is used. Raises `ConfigError`."""
    if config.flame_map is None:
        return None
    try:
        return load_flame_map(config.flame_map)
    except AssetError as error:
        raise ConfigError(f"flame_map: {config.flame_map}: {error}") from error


def open_tap(config: EdgeConfig) -> WavTap | None:
    """Begin the recording of the sound in the record folder, which is made where it is missing. Raises `ConfigError`."""
    if config.record is None:
        return None
    try:
        config.record.mkdir(parents=True, exist_ok=True)
        return WavTap(config.record / "played.wav", config.rate_hz)
    except OSError as error:
        raise ConfigError(f"record: {config.record} cannot be written: {error.strerror}") from error
