"""`relayctl device|publisher|operator create|list|rotate|revoke`: changes the access file, on this machine.

The relay reloads the file within seconds. A token is shown once, by `create` and `rotate`; it cannot be shown again, because only its
salted hash is stored.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from avatar_relay.errors import ConfigError
from relay_server.access import issuing
from relay_server.access.identities import Identity
from relay_server.access.scopes import RPCS, Role
from relay_server.access.store import AccessFile
from relay_server.access.tokens import TokenRecord, make_token
from relay_server.relayctl.values import number

ACCESS_FILE_VARIABLE = "AVATAR_RELAY_ACCESS_FILE"
"""The variable that the relay itself reads."""
KEEP_OLD_H = 24.0
_S_PER_DAY = 86_400
_DAYS = number(0, 36_500)
_HOURS = number(0, 24 * 36_500)
"""Both limits are a hundred years."""

Answer = tuple[dict[str, Any], list[str]]
"""An answer as JSON, and as lines of text."""
Run = Callable[[AccessFile, Role, argparse.Namespace], Iterator[Answer]]


def add_commands(commands: Any) -> None:
    """Add the three roles with their verbs to the commands of `relayctl`; pass the parsed options to `run`."""
    for role in Role:
        text = f"Manage {role} credentials: create, list, rotate, revoke (in the access file, on this machine)."
        verbs = commands.add_parser(role.value, help=text, description=text).add_subparsers(metavar="VERB", required=True)
        create = _verb(verbs, role, "create", _create, f"Create a {role}; prints its token, once.")
        if role is not Role.DEVICE:
            create.add_argument(
                "--devices", required=True, metavar="NAME,…", help="devices that it may reach: devices, groups, NAME*, or *"
            )
            create.add_argument(
                "--rpcs", default="", metavar="RPC,…", help=f"RPCs that it may call (default: {', '.join(sorted(RPCS[role]))})"
            )
        if role is Role.PUBLISHER:
            create.add_argument("--trust-sampling", action="store_true", help="accept its trace context and sampled flag")
        create.add_argument("--certificate", default="", metavar="NAME", help="no token: it presents a certificate with this name")
        create.add_argument("--streams", type=int, default=0, metavar="N", help="maximum open calls")
        create.add_argument("--calls-per-minute", type=int, default=0, metavar="N", help="maximum calls a minute")
        rotate = _verb(verbs, role, "rotate", _rotate, f"Give a {role} a new token; prints it, once.")
        rotate.add_argument("--keep-old", type=_HOURS, default=KEEP_OLD_H, metavar="HOURS", help="how long the old one remains valid (24)")
        for issues in (create, rotate):
            issues.add_argument("--expires-in", type=_DAYS, default=0.0, metavar="DAYS", help="the token's lifetime (default: unlimited)")
            issues.add_argument("--token-out", type=Path, metavar="FILE", help="write the token to a new file instead of printing it")
        _verb(verbs, role, "revoke", _revoke, f"Revoke a {role}; its running calls end, too.")
        _verb(verbs, role, "list", _list, f"List the {role}s.", named=False)


def run(options: argparse.Namespace) -> Iterator[Answer]:
    """Run the parsed command. Raises `ConfigError`."""
    named = options.access_file or os.environ.get(ACCESS_FILE_VARIABLE)
    if not named:
        raise ConfigError(f"say which access file: --access-file FILE, or {ACCESS_FILE_VARIABLE}")
    yield from options.keys(AccessFile(Path(named)), options.role, options)


def _verb(verbs: Any, role: Role, name: str, keys: Run, text: str, *, named: bool = True) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(keys=keys, role=role)
    verb.add_argument("--access-file", metavar="FILE", help=f"the access file (default: {ACCESS_FILE_VARIABLE})")
    if named:
        verb.add_argument("name", metavar="NAME")
    return verb


def _create(file: AccessFile, role: Role, options: argparse.Namespace) -> Iterator[Answer]:
    identity = Identity(
        role=role,
        name=options.name,
        devices=_names(getattr(options, "devices", "")),
        rpcs=frozenset(_names(getattr(options, "rpcs", ""))),
        certificate=options.certificate,
        trusted_sampling=getattr(options, "trust_sampling", False),
        streams=options.streams,
        calls_per_minute=options.calls_per_minute,
    )
    token = ""
    with file.changing() as cell:
        if not options.certificate:
            token, record = _issue(options)
            identity = replace(identity, tokens=(record,))
        cell[0] = issuing.create(cell[0], identity)
        _hand_out(token, options.token_out)
    yield _issued(identity.key, token, options.token_out)


def _rotate(file: AccessFile, role: Role, options: argparse.Namespace) -> Iterator[Answer]:
    key = f"{role} {options.name}"
    token, record = _issue(options)
    with file.changing() as cell:
        cell[0] = issuing.rotate(cell[0], key, record, _unix_s(), round(options.keep_old * 3_600))
        _hand_out(token, options.token_out)
    yield _issued(key, token, options.token_out)


def _revoke(file: AccessFile, role: Role, options: argparse.Namespace) -> Iterator[Answer]:
    key = f"{role} {options.name}"
    with file.changing() as cell:
        cell[0] = issuing.revoke(cell[0], key)
    yield {"revoked": key}, [f"revoked: {key}"]


def _list(file: AccessFile, role: Role, _: argparse.Namespace) -> Iterator[Answer]:
    for identity in (found for found in file.load().identities.values() if found.role is role):
        tokens = [
            {"id": token.token_id, "created": _date(token.created_unix_s), "expires": _date(token.expires_unix_s)}
            for token in identity.tokens
        ]
        said = {"name": identity.name, "devices": list(identity.reach), "rpcs": sorted(identity.granted), "revoked": identity.revoked}
        shown = [f"token {token['id']} until {token['expires'] or 'revoked'}" for token in tokens]
        shown += [f"certificate {identity.certificate}"] * bool(identity.certificate) + ["REVOKED"] * identity.revoked
        line = f"{identity.name}  {','.join(identity.reach)}  {','.join(sorted(identity.granted))}  {', '.join(shown)}"
        yield said | {"certificate": identity.certificate, "tokens": tokens}, [line]


def _issue(options: argparse.Namespace) -> tuple[str, TokenRecord]:
    now_s = _unix_s()
    expires_s = now_s + round(options.expires_in * _S_PER_DAY) if options.expires_in > 0 else 0
    return make_token(os.urandom, now_s, expires_s)


def _hand_out(token: str, path: Path | None) -> None:
    """Write the token to a new file that only its owner can read. Raises `ConfigError` if it exists or cannot be written."""
    if path is not None and token:
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(token + "\n")
        except OSError as error:
            raise ConfigError(f"--token-out: {path} cannot be written: {error.strerror}") from error


def _issued(key: str, token: str, path: Path | None) -> Answer:
    if not token:
        return {"created": key}, [f"created: {key}, by its certificate"]
    if path is not None:
        return {"created": key, "token_file": str(path)}, [f"created: {key}, its token is in {path}"]
    return {"created": key, "token": token}, [token]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _date(unix_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s)) if unix_s else ""


def _unix_s() -> int:
    return int(time.time())
