"""The access file's format: JSON, parsed strictly, because a misspelt field may have been a restriction. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from avatar_relay.errors import ConfigError
from relay_server.access.identities import Directory, Identity
from relay_server.access.scopes import Role
from relay_server.access.tokens import TokenRecord

VERSION = 1
_NO_TEXTS: tuple[str, ...] = ()
_NO_ITEMS: tuple[object, ...] = ()

Read = TypeVar("Read")


def to_text(directory: Directory) -> str:
    """The text of the file."""
    identities = [_identity_to_json(identity) for _, identity in sorted(directory.identities.items())]
    return json.dumps({"version": VERSION, "identities": identities}, indent=1) + "\n"


def from_text(text: str) -> Directory:
    """Parse the text of the file. Raises `ConfigError` that names the position and the problem; it never quotes a digest."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not JSON: {error}") from error
    fields = _Fields(content, "the file")
    version = fields.take("version", _number, 0)
    if version != VERSION:
        raise ConfigError(f"is of version {version}; this relay reads version {VERSION}")
    listed = fields.take("identities", _items, _NO_ITEMS)
    fields.end()
    return Directory(_identity_from_json(item, f"identity {index}") for index, item in enumerate(listed, 1))


def _identity_to_json(identity: Identity) -> dict[str, Any]:
    said: dict[str, Any] = {
        "role": identity.role.value,
        "name": identity.name,
        "devices": list(identity.devices),
        "rpcs": sorted(identity.rpcs),
        "certificate": identity.certificate,
        "revoked": identity.revoked,
        "trusted_sampling": identity.trusted_sampling,
        "streams": identity.streams,
        "calls_per_minute": identity.calls_per_minute,
        "tokens": [_token_to_json(token) for token in identity.tokens],
    }
    return {name: value for name, value in said.items() if value not in ("", 0, [], False)}


def _token_to_json(token: TokenRecord) -> dict[str, Any]:
    said: dict[str, Any] = {"id": token.token_id, "salt": token.salt.hex(), "hmac_sha256": token.digest.hex()}
    return said | {"created": token.created_unix_s, "expires": token.expires_unix_s}


def _identity_from_json(item: object, where: str) -> Identity:
    fields = _Fields(item, where)
    identity = Identity(
        role=fields.take("role", _role),
        name=fields.take("name", _text),
        devices=fields.take("devices", _texts, _NO_TEXTS),
        rpcs=frozenset(fields.take("rpcs", _texts, _NO_TEXTS)),
        certificate=fields.take("certificate", _text, ""),
        tokens=tuple(
            _token_from_json(token, f"{where}, token {at}") for at, token in enumerate(fields.take("tokens", _items, _NO_ITEMS), 1)
        ),
        revoked=fields.take("revoked", _flag, False),
        trusted_sampling=fields.take("trusted_sampling", _flag, False),
        streams=fields.take("streams", _number, 0),
        calls_per_minute=fields.take("calls_per_minute", _number, 0),
    )
    fields.end()
    return identity


def _token_from_json(item: object, where: str) -> TokenRecord:
    fields = _Fields(item, where)
    record = TokenRecord(
        token_id=fields.take("id", _hexadecimal(8)).hex(),
        salt=fields.take("salt", _hexadecimal(16)),
        digest=fields.take("hmac_sha256", _hexadecimal(32)),
        created_unix_s=fields.take("created", _number, 0),
        expires_unix_s=fields.take("expires", _number, 0),
    )
    fields.end()
    return record


class _Fields:
    """The fields of an object, each read once."""

    def __init__(self, item: object, where: str) -> None:
        if not isinstance(item, Mapping):
            raise ConfigError(f"{where} must be an object")
        self._left = dict(item)
        self._where = where

    def take(self, name: str, read: Callable[[object], Read], default: Read | None = None) -> Read:
        """Read a field; `default` if it is missing. Raises `ConfigError` if it is missing without a default, or invalid."""
        if name not in self._left:
            if default is None:
                raise ConfigError(f"{self._where} has no {name}")
            return default
        try:
            return read(self._left.pop(name))
        except ValueError as error:
            raise ConfigError(f"{self._where}: {name} {error}") from None

    def end(self) -> None:
        """Raise `ConfigError` if a field is left."""
        if self._left:
            raise ConfigError(f"{self._where} has a field {next(iter(self._left))[:64]!r}, which does not exist")


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise ValueError("must be text of at most 256 characters")
    return value


def _items(value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list")
    return tuple(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in _items(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("must be a whole number from 0")
    return value


def _role(value: object) -> Role:
    if not isinstance(value, str) or value not in list(Role):
        raise ValueError(f"must be one of {', '.join(Role)}")
    return Role(value)


def _hexadecimal(size: int) -> Callable[[object], bytes]:
    def read(value: object) -> bytes:
        try:
            data = bytes.fromhex(_text(value))
        except ValueError:
            data = b""
        if len(data) != size:
            raise ValueError(f"must be {2 * size} hexadecimal digits")
        return data

    return read
