"""Opens the files named by the settings at start-up: a fault in one is a `ConfigError` that names its setting."""

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
    """The credentials presented to a relay. Raises `ConfigError` if certificates, key or token cannot be used."""
    return CredentialFiles(config, lambda: int(time.time()))


def endpoint_of(config: EdgeConfig) -> Endpoint:
    """The relay's endpoint as known without discovery: the configured relay, or the one the device is paired with.

    Raises as `credentials_of`.
    """
    files = credentials_of(config)
    if (paired := paired_of(config, state_folder(os.environ, Path.home))) is not None:
        return endpoint_of_pairing(paired, paired.address)
    first, *others = (LOCAL_RELAY,) if config.relay == AUTO else config.relay
    return Endpoint(first, config.tls, files, tuple(others))


def as_operators_set(config: EdgeConfig) -> EdgeConfig:
    """The settings merged with those that operators have set from a relay, as they apply at the device's next start."""
    folder = state_folder(os.environ, Path.home)
    if folder is None:
        return config
    paired = paired_of(config, folder)
    device_id = paired.device_id if paired is not None else device_name(config.device_id, platform.node())
    return StoredSettings(desk_settings_file(folder, device_id), config).config


def find_relay(config: EdgeConfig, within_s: float) -> FoundRelay | None:
    """The relay that an unpaired device without an address would use; None if none is found in time. Blocks."""
    until_s = time.monotonic() + within_s

    def wait(seconds: float) -> bool:
        time.sleep(max(0.0, min(seconds, until_s - time.monotonic())))
        return time.monotonic() >= until_s

    return RelayFinder(config, wait).find()


def flame_map_of(config: EdgeConfig) -> FlameMap | None:
    """The configured map; None if the built-in one is used. Raises `ConfigError`."""
    if config.flame_map is None:
        return None
    try:
        return load_flame_map(config.flame_map)
    except AssetError as error:
        raise ConfigError(f"flame_map: {config.flame_map}: {error}") from error


def open_tap(config: EdgeConfig) -> WavTap | None:
    """Start recording the sound in the record folder, which is created if missing. Raises `ConfigError`."""
    if config.record is None:
        return None
    try:
        config.record.mkdir(parents=True, exist_ok=True)
        return WavTap(config.record / "played.wav", config.rate_hz)
    except OSError as error:
        raise ConfigError(f"record: {config.record} cannot be written: {error.strerror}") from error
