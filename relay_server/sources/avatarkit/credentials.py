"""The API key of an AvatarKit account."""

from __future__ import annotations

from collections.abc import Mapping

from avatar_relay.errors import ConfigError
from relay_server.sources.api_keys import read_api_key
from relay_server.sources.avatarkit.settings import API_KEY_VARIABLES, AvatarKitSettings


def api_key_of(settings: AvatarKitSettings, environment: Mapping[str, str]) -> str:
    """The API key, from the environment or else from its file. Raises `ConfigError`, which never holds any of it."""
    variable = API_KEY_VARIABLES[settings.sdk]
    key = read_api_key(settings.sdk, variable, settings.api_key_file, environment)
    if not key:
        raise ConfigError(f"{settings.sdk}: no API key; set {variable}, or name a file that holds it by api_key_file")
    return key
