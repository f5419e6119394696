"""How `relayctl` reaches a relay: TLS except within this machine, and credentials from a file or the environment."""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.certificate_dates import clock_fault
from avatar_relay.credentials import clean_token, metadata_of
from avatar_relay.errors import ConfigError
from avatar_relay.forward_proxy import proxy_option
from avatar_relay.limits import GRPC_MAX_RECEIVE_BYTES
from avatar_relay.pem import PemError, check_authorities, check_key_pair
from avatar_relay.settings import ProgramSettings, Section

ENVIRONMENT = "RELAYCTL_"
TOKEN_VARIABLE = ENVIRONMENT + "TOKEN"
_KEEPALIVE = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000))
"""A watcher finds a relay that is gone without a word."""
_FILES = {
    "token_file": "file with the token to show",
    "tls_ca_file": "certificates (PEM) that vouch for the relay; speaks TLS on this machine too",
    "tls_cert_file": "certificate (PEM) to show",
    "tls_key_file": "the certificate's key (PEM)",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags; no flag takes a token itself, because all users of a machine see command lines."""
    for name, text in _FILES.items():
        variable = ENVIRONMENT + name.upper()
        parser.add_argument("--" + name.replace("_", "-"), metavar="FILE", help=f"{text} (or {variable})")
    parser.add_argument("--insecure", action="store_true", help="speak plaintext to a relay that is not on this machine (else: TLS)")


def open_channel(options: argparse.Namespace, environment: Mapping[str, str]) -> grpc.Channel:
    """A channel that shows the credentials. Raises `ConfigError` where what was said can not be."""
    variables = frozenset(name.upper() for name in (*_FILES, "token"))
    ProgramSettings(ENVIRONMENT, [Section("", {}, variables)]).check_environment(environment)
    said = {name: getattr(options, name) or environment.get(ENVIRONMENT + name.upper()) for name in _FILES}
    files = {name: _read(name, path) for name, path in said.items() if path}
    token = _token(files, environment)
    loopback = is_loopback(split_address(options.relay, "relay")[0])
    tls = not (options.insecure or loopback) or "tls_ca_file" in files or "tls_cert_file" in files
    if ("tls_cert_file" in files) != ("tls_key_file" in files):
        raise ConfigError("tls_cert_file and tls_key_file come together")
    _check(said)
    if token is not None and not tls and not loopback:
        raise ConfigError("insecure: a token does not travel in plaintext; leave it out")
    grpc_options = [("grpc.max_receive_message_length", GRPC_MAX_RECEIVE_BYTES), *_KEEPALIVE, *proxy_option(options.relay)]
    if tls:
        credentials = grpc.ssl_channel_credentials(files.get("tls_ca_file"), files.get("tls_key_file"), files.get("tls_cert_file"))
        channel = grpc.secure_channel(options.relay, credentials, grpc_options)
    else:
        channel = grpc.insecure_channel(options.relay, grpc_options)
    return channel if token is None else grpc.intercept_channel(channel, _ShowToken(token))


def why_unreachable(options: argparse.Namespace) -> str:
    """Why no relay answers, as far as can be found out. Takes two seconds at most."""
    if not _uses_tls(options) and _speaks_tls(options.relay):
        return f"{options.relay} speaks TLS, and this was plaintext: give --tls-ca-file with the authority that vouches for it"
    if _uses_tls(options) and (text := clock_fault(int(time.time()))):
        return f"no relay answers at {options.relay}: {text}"
    return f"no relay answers at {options.relay}: is it running, and is the address right?"


def _uses_tls(options: argparse.Namespace) -> bool:
    loopback = is_loopback(split_address(options.relay, "relay")[0])
    named = [getattr(options, name) or os.environ.get(ENVIRONMENT + name.upper()) for name in ("tls_ca_file", "tls_cert_file")]
    return not (options.insecure or loopback) or any(named)


def _speaks_tls(address: str) -> bool:
    """Whether a TLS handshake succeeds there, whatever certificate is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(split_address(address, "relay"), timeout=2) as plain:
            context.wrap_socket(plain).close()
    except ssl.SSLError as error:
        return "CERTIFICATE" in (error.reason or "")  # it asks for ours
    except OSError:
        return False
    return True


def _check(named: Mapping[str, str | None]) -> None:
    """Refuse files that are no certificates, or no pair, or not valid now."""
    now_s = int(time.time())
    try:
        if ca := named["tls_ca_file"]:
            check_authorities("tls_ca_file", Path(ca), now_s)
        if (certificate := named["tls_cert_file"]) and (key := named["tls_key_file"]):
            check_key_pair(("tls_cert_file", "tls_key_file"), Path(certificate), Path(key), now_s)
    except PemError as error:
        raise ConfigError(str(error)) from error


def _token(files: Mapping[str, bytes], environment: Mapping[str, str]) -> str | None:
    where, said = TOKEN_VARIABLE, environment.get(TOKEN_VARIABLE)
    if "token_file" in files:
        where, said = "token_file", files["token_file"].decode(errors="replace")
    try:
        return None if said is None else clean_token(said)
    except ValueError as error:
        raise ConfigError(f"{where} {error}") from None


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: {path} can not be read: {error.strerror}") from error


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _ShowToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Puts the token into the metadata of each call."""

    def __init__(self, token: str) -> None:
        self._metadata = metadata_of(token)

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """See grpc."""
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """See grpc."""
        return continuation(self._with_token(details), request)

    def _with_token(self, details: Any) -> _CallDetails:
        metadata = (*(details.metadata or ()), *self._metadata)
        return _CallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready, details.compression)
