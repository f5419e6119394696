"""The connection of `relayctl` to a relay: settings, and a channel with credentials."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from avatar_relay import setting_types as takes
from avatar_relay.certificate_dates import clock_fault
from avatar_relay.client_credentials import read_credentials
from avatar_relay.client_settings import ClientSettings, is_local
from avatar_relay.credentials import clean_token, metadata_of
from avatar_relay.errors import ConfigError
from avatar_relay.forward_proxy import proxy_option
from avatar_relay.limits import GRPC_MAX_RECEIVE_BYTES
from avatar_relay.settings import ProgramSettings, Section, setting
from avatar_relay.spoken import speaks

PREFIX = "RELAYCTL_"
TOKEN = "TOKEN"
_KEEPALIVE = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000))
"""So that a watcher notices a relay that vanished silently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings(ClientSettings):
    """Settings of `relayctl`. No flag accepts a token itself, because command lines are visible to all users of a machine."""

    relay: str = setting("127.0.0.1:52000", takes.text("HOST:PORT"), "the relay")

    def __post_init__(self) -> None:
        self._check_credentials(within_machine=is_local(self.relay))

    @property
    def tls(self) -> bool:
        """Whether the link is encrypted."""
        return self.tls_to(self.relay)


SETTINGS = ProgramSettings(PREFIX, [Section.of(OperatorSettings, variables=(TOKEN,))])


def load_settings(options: argparse.Namespace, environment: Mapping[str, str]) -> OperatorSettings:
    """The settings from flags and environment, checked. Raises `ConfigError`."""
    settings: OperatorSettings = SETTINGS.load(SETTINGS.flags_in(options), environment, None)[""].make(OperatorSettings)
    return settings


def open_channel(settings: OperatorSettings, environment: Mapping[str, str]) -> grpc.Channel:
    """A channel with the credentials. Raises `ConfigError` if they cannot be used."""
    shown = read_credentials(settings, int(time.time()))
    token = shown.token or _token_in(environment)
    if token is not None and not settings.tls and not is_local(settings.relay):
        raise ConfigError("insecure: tokens are not sent in plaintext; leave it out")
    grpc_options = [("grpc.max_receive_message_length", GRPC_MAX_RECEIVE_BYTES), *_KEEPALIVE, *proxy_option(settings.relay)]
    if settings.tls:
        credentials = grpc.ssl_channel_credentials(shown.root_certificates, shown.key, shown.certificate)
        channel = grpc.secure_channel(settings.relay, credentials, grpc_options)
    else:
        channel = grpc.insecure_channel(settings.relay, grpc_options)
    return channel if token is None else grpc.intercept_channel(channel, _ShowToken(token))


def why_unreachable(settings: OperatorSettings) -> str:
    """Why no relay answers, as far as can be determined. Blocks for four seconds at most."""
    if not settings.tls and speaks(settings.relay) == "tls":
        return f"{settings.relay} uses TLS, and this was plaintext: pass --tls-ca-file with the CA certificate of its authority"
    if settings.tls and (text := clock_fault(int(time.time()))):
        return f"no relay answers at {settings.relay}: {text}"
    return f"no relay answers at {settings.relay}: is it running, and is the address right?"


def _token_in(environment: Mapping[str, str]) -> str | None:
    if not (said := environment.get(PREFIX + TOKEN)):
        return None
    try:
        return clean_token(said)
    except ValueError as error:
        raise ConfigError(f"{PREFIX}{TOKEN} {error}") from None


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _ShowToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds the token to the metadata of each call."""

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
