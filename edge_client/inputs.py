"""Files that the settings name, opened at the start: what is wrong with one is a `ConfigError` that names its setting."""

from __future__ import annotations

import time

from avatar_relay.errors import ConfigError
from edge_client.audio.sinks.wav import WavTap
from edge_client.config import EdgeConfig
from edge_client.errors import AssetError
from edge_client.link.attach_call import Endpoint
from edge_client.link.credentials import CredentialFiles
from edge_client.motion.avatarkit import FlameMap, load_flame_map


def endpoint_of(config: EdgeConfig) -> Endpoint:
    """Where the relay is. Raises `ConfigError` where certificates, key or token cannot be used."""
    files = CredentialFiles(
        unix_s=lambda: int(time.time()),
        ca=config.tls_ca_file,
        certificate=config.tls_cert_file,
        key=config.tls_key_file,
        token=config.token_file,
    )
    return Endpoint(config.relay[0], config.tls, files, config.relay[1:])


def flame_map_of(config: EdgeConfig) -> FlameMap | None:
    """The map of the settings; None where the one that ships is used. Raises `ConfigError`."""
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
