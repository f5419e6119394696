"""`relay-server`: flags over environment over a TOML file over defaults."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from avatar_relay.errors import ConfigError
from relay_server.config import AUDIO2FACE, RelayConfig
from relay_server.sources.audio2face.settings import settings_from as audio2face_settings
from relay_server.sources.avatarkit.settings import SDKS
from relay_server.sources.avatarkit.settings import settings_from as avatarkit_settings

ENVIRONMENT = "AVATAR_RELAY_"
"""Prefix of environment variables: AVATAR_RELAY_LISTEN, AVATAR_RELAY_SPEECH_FOLDER, …."""
TABLES = ("groups", "devices", "avatarkit", "audio2face")
"""Settings that only the file has."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="relay-server",
        description="Relays audio and motion payloads from publishers to devices.",
        epilog=f"Each setting is also read from {ENVIRONMENT}NAME and from the file; flags go first, then the environment.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('avatar-relay')}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings by their long names, and [groups]")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (default 127.0.0.1:52000; port 0 takes a free one)")
    parser.add_argument(
        "--insecure-listen", action="store_true", default=None, help="allow plaintext, or everybody, where others can reach it"
    )
    parser.add_argument("--access-file", metavar="FILE", help="who may enter; without it, everybody (relayctl writes it)")
    parser.add_argument("--tls-cert-file", metavar="FILE", help="the relay's certificate (PEM); without it, plaintext")
    parser.add_argument("--tls-key-file", metavar="FILE", help="the certificate's key (PEM)")
    parser.add_argument("--tls-client-ca-file", metavar="FILE", help="who vouches for clients; then all of them need a certificate")
    parser.add_argument("--admin-listen", metavar="HOST:PORT|off", help="where operators are served (default: with the rest)")
    parser.add_argument("--reflection", action=argparse.BooleanOptionalAction, default=None, help="serve reflection (default: yes)")
    parser.add_argument("--speech-folder", metavar="FOLDER", help="where Speak finds files")
    parser.add_argument("--group", action="append", default=[], metavar="NAME=DEVICE,…", help="a name for several devices; repeatable")
    parser.add_argument("--channelz", action="store_true", default=None, help="serve channelz")
    parser.add_argument("--media-tick-ms", type=int, metavar="MS", help="let media wait up to MS (at most 10) to be joined (default 0)")
    parser.add_argument("--drain-grace-ms", type=int, metavar="MS", help="how long a drain waits for conversations (default 20000)")
    parser.add_argument("--port-file", type=Path, metavar="FILE", help="write the port to FILE when listening")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"), help="default: warning")
    return parser


def load_config(arguments: argparse.Namespace, environment: Mapping[str, str]) -> RelayConfig:
    """Settings from all sources, checked. Raises `ConfigError`."""
    settings = _from_file(arguments.config) if arguments.config else {}
    settings |= _from_environment(environment)
    flags = {
        "listen": arguments.listen,
        "insecure_listen": arguments.insecure_listen,
        "access_file": arguments.access_file,
        "tls_cert_file": arguments.tls_cert_file,
        "tls_key_file": arguments.tls_key_file,
        "tls_client_ca_file": arguments.tls_client_ca_file,
        "admin_listen": arguments.admin_listen,
        "reflection": arguments.reflection,
        "speech_folder": arguments.speech_folder,
        "channelz": arguments.channelz,
        "media_tick_us": None if arguments.media_tick_ms is None else arguments.media_tick_ms * 1_000,
        "drain_grace_us": None if arguments.drain_grace_ms is None else arguments.drain_grace_ms * 1_000,
    }
    settings |= {name: value for name, value in flags.items() if value is not None}
    if arguments.group:
        settings["groups"] = dict(_group(text) for text in arguments.group)
    return _checked(settings)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"config: {path} can not be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: {path} is not TOML: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for field in fields(RelayConfig):
        text = environment.get(ENVIRONMENT + field.name.upper())
        if text is None or field.name in TABLES:
            continue
        if field.type == "bool":
            if text not in ("0", "1"):
                raise ConfigError(f"{ENVIRONMENT}{field.name.upper()}: {text!r} is neither 0 nor 1")
            settings[field.name] = text == "1"
        elif field.type == "int":
            if not text.isascii() or not text.isdigit():
                raise ConfigError(f"{ENVIRONMENT}{field.name.upper()}: {text!r} is not a whole number")
            settings[field.name] = int(text)
        else:
            settings[field.name] = text
    return settings


def _group(text: str) -> tuple[str, tuple[str, ...]]:
    name, separator, members = text.partition("=")
    if not separator:
        raise ConfigError(f"--group: {text!r} is not NAME=DEVICE,DEVICE")
    return name, tuple(members.split(","))


def _sources(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the tables `[devices.NAME]` and those of the Server SDKs read. Raises `ConfigError`."""
    settings = dict(settings)
    settings["avatarkit"] = {sdk: avatarkit_settings(sdk, settings.pop(sdk)) for sdk in SDKS if sdk in settings}
    if AUDIO2FACE in settings:
        settings[AUDIO2FACE] = audio2face_settings(settings[AUDIO2FACE])
    devices = settings.get("devices", {})
    if not isinstance(devices, Mapping) or not all(
        isinstance(table, Mapping) and set(table) == {"source"} and isinstance(table["source"], str) for table in devices.values()
    ):
        raise ConfigError('devices: a table for each device with its source and nothing else, such as [devices.lobby] source = "local"')
    settings["devices"] = {str(name): table["source"] for name, table in devices.items()}
    return settings


def _checked(settings: dict[str, Any]) -> RelayConfig:
    if "avatarkit" in settings:
        raise ConfigError(f"avatarkit: no such setting; the tables of Server SDKs are {', '.join(SDKS)}")
    settings = _sources(settings)
    known = {field.name: field for field in fields(RelayConfig)}
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(f"{name}: no such setting; there are {', '.join(known)}")
        expected = {"bool": bool, "int": int, "str": str, "Path | None": str}.get(str(known[name].type))
        if expected is not None and type(value) is not expected:
            raise ConfigError(f"{name}: {value!r} is not of type {known[name].type}")
    settings |= {name: Path(value) for name, value in settings.items() if known[name].type == "Path | None"}
    groups = settings.get("groups", {})
    if not isinstance(groups, Mapping) or not all(isinstance(members, list | tuple) for members in groups.values()):
        raise ConfigError('groups: a table of lists of device ids, such as lobby = ["left", "right"]')
    settings["groups"] = {str(name): tuple(str(member) for member in members) for name, members in groups.items()}
    return RelayConfig(**settings)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `relay-server`. Exits with 2 where the configuration can not be."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        config = load_config(arguments, os.environ)
    except ConfigError as error:
        parser.error(str(error))

    import asyncio

    from relay_server.server import serve  # late: --help and a wrong setting answer without loading grpc

    def ready(address: str) -> None:
        if arguments.port_file is not None:
            arguments.port_file.write_text(address.rpartition(":")[2] + "\n", encoding="ascii")
        print(f"listening on {address}", flush=True)  # last: who waits for this line may read the file

    try:
        asyncio.run(serve(config, os.environ, ready))
    except ConfigError as error:
        parser.error(str(error))
