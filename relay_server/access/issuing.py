"""Changes to the directory: create, rotate, revoke. Pure; each function returns a new directory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from avatar_relay.errors import ConfigError
from relay_server.access.identities import MAX_TOKENS, Directory, Identity
from relay_server.access.tokens import TokenRecord


def create(directory: Directory, identity: Identity) -> Directory:
    """Add an identity; a revoked one may be created again. Raises `ConfigError` if the name is taken."""
    known = directory.identities.get(identity.key)
    if known is not None and not known.revoked:
        raise ConfigError(f"{identity.key} exists already; give it a new token with rotate, or revoke it")
    return _with(directory, identity)


def rotate(directory: Directory, key: str, record: TokenRecord, unix_s: int, keep_old_s: int) -> Directory:
    """Add a new token; the old ones expire after `keep_old_s`, or earlier if they were due. Raises `ConfigError`."""
    identity = find(directory, key)
    if identity.revoked:
        raise ConfigError(f"{key} was revoked; create it again")
    end_s = unix_s + keep_old_s
    kept = [token for token in identity.tokens if keep_old_s > 0 and not token.expired(unix_s)]
    old = [replace(token, expires_unix_s=min(token.expires_unix_s or end_s, end_s)) for token in kept[-(MAX_TOKENS - 1) :]]
    return _with(directory, replace(identity, tokens=(*old, record)))


def revoke(directory: Directory, key: str) -> Directory:
    """Revoke an identity. Its credentials are kept, so that a caller with them receives the reason. Raises `ConfigError`."""
    return _with(directory, replace(find(directory, key), revoked=True))


def find(directory: Directory, key: str) -> Identity:
    """The identity with this role and name. Raises `ConfigError` if there is none."""
    identity = directory.identities.get(key)
    if identity is None:
        raise ConfigError(f"there is no {key}; `list` shows all")
    return identity


def _with(directory: Directory, identity: Identity) -> Directory:
    others: Iterable[Identity] = (known for known in directory.identities.values() if known.key != identity.key)
    return Directory((*others, identity))
