"""API keys: out of the environment or a file, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from relay_server.errors import ConfigError
from relay_server.sources.avatarkit.settings import API_KEY_VARIABLES, AvatarKitSettings

MAX_KEY_BYTES = 4_096


def api_key_of(settings: AvatarKitSettings, environment: Mapping[str, str]) -> str:
    """The API key, from the environment or else from its file. Raises `ConfigError`, which never holds any of it."""
    variable = API_KEY_VARIABLES[settings.sdk]
    key = environment.get(variable, "")
    if not key and settings.api_key_file is not None:
        try:
            with settings.api_key_file.open("rb") as file:
                key = file.read(MAX_KEY_BYTES).decode("ascii").partition("\n")[0].strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{settings.sdk}.api_key_file: {settings.api_key_file} does not begin with a key") from None
        except OSError as error:
            raise ConfigError(f"{settings.sdk}.api_key_file: {settings.api_key_file} can not be read: {error.strerror}") from error
    if not key:
        raise ConfigError(f"{settings.sdk}: no API key; set {variable}, or name a file that holds it by api_key_file")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"{settings.sdk}: the API key holds characters that no header can carry")
    return key
