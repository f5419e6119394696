"""Cluster names, secret and backplane from a relay's configuration."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from collections.abc import Callable

from avatar_relay.addresses import split_address
from avatar_relay.errors import ConfigError
from relay_server.backplane.backplane import Backplane
from relay_server.cluster.names import ClusterNames
from relay_server.config import RelayConfig
from relay_server.links.socket_links import LinkSettings, SocketLinks, socket_path

MIN_SECRET_BYTES = 32


def names_of(config: RelayConfig, host: str, drawn: bytes) -> ClusterNames:
    """The cluster's subjects and this relay's name: the configured one, or the machine's name and the `drawn` random bytes."""
    own = re.sub(r"[^A-Za-z0-9_-]", "-", host)[:56] + f"-{drawn.hex()}"
    return ClusterNames(config.cluster_name, config.cluster_relay or own)


def publisher_token(config: RelayConfig) -> Callable[[str], str]:
    """A function from a publisher's key to its session token: the same at all relays with the same secret. Raises `ConfigError`."""
    secret = _read_secret(config)
    return lambda key: hmac.new(secret, b"publisher\0" + key.encode(), hashlib.sha256).hexdigest()


def _read_secret(config: RelayConfig) -> bytes:
    assert config.cluster_secret_file is not None
    try:
        secret = config.cluster_secret_file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cluster_secret_file: {config.cluster_secret_file} cannot be read: {error.strerror}") from error
    if len(secret) < MIN_SECRET_BYTES:
        text = f"holds {len(secret)} bytes; it takes {MIN_SECRET_BYTES} at least"
        raise ConfigError(f"cluster_secret_file: {config.cluster_secret_file} {text}")
    return secret


def backplane_of(config: RelayConfig, names: ClusterNames) -> Backplane:
    """The configured backplane, not yet connected. Raises `ConfigError`."""
    try:
        from relay_server.backplane.nats_core import NatsBackplane
    except ModuleNotFoundError as error:
        raise ConfigError(f"cluster_nats: {error.name} is not installed; pip install 'avatar-relay[relay,cluster]' brings it") from error
    return NatsBackplane(config.cluster_nats, f"{config.cluster_name}/{names.relay}", _tls(config))


def links_of(config: RelayConfig, names: ClusterNames, random_bytes: Callable[[int], bytes], now_us: Callable[[], int]) -> SocketLinks:
    """The links of a relay, which may have no address of its own. Raises `ConfigError`."""
    listen, folder, certificate = config.cluster_listen, config.sockets, None
    if config.tls_cert_file is not None and config.tls_key_file is not None:
        certificate = config.tls_cert_file, config.tls_key_file
    settings = LinkSettings(
        _read_secret(config),
        names.relay,
        address=split_address(listen, "cluster_listen", port_zero=True) if listen else None,
        certificate=certificate,
        socket=None if folder is None else socket_path(folder, names.relay.removeprefix(config.siblings)),
        siblings=config.siblings,
    )
    return SocketLinks(settings, random_bytes, now_us)


def _tls(config: RelayConfig) -> ssl.SSLContext | None:
    if config.cluster_tls_ca_file is None and config.cluster_tls_cert_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=config.cluster_tls_ca_file)
        if config.cluster_tls_cert_file is not None:
            context.load_cert_chain(config.cluster_tls_cert_file, config.cluster_tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cluster_tls_ca_file, cluster_tls_cert_file, cluster_tls_key_file: {error}") from error
    return context
