"""API keys of Server SDKs: read from the environment or a file, and from nowhere else. Error texts never contain any part of a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avatar_relay.errors import ConfigError

MAX_KEY_BYTES = 4_096


def read_api_key(source: str, variable: str, file: Path | None, environment: Mapping[str, str]) -> str:
    """The key of `source`: the environment's `variable`, or else the file's first line; empty if there is none.

    Raises `ConfigError` if the file cannot be read, or the key cannot be sent in a header.
    """
    key = environment.get(variable, "").strip()
    if not key and file is not None:
        try:
            with file.open("rb") as opened:
                key = opened.read(MAX_KEY_BYTES).decode("ascii").partition("\n")[0].strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{source}.api_key_file: {file} does not begin with a key") from None
        except OSError as error:
            raise ConfigError(f"{source}.api_key_file: {file} cannot be read: {error.strerror}") from error
    if not key.isascii() or (key and not key.isprintable()):
        raise ConfigError(f"{source}: the API key holds characters that no header can carry")
    return key
