"""Credentials of a client, and those that it requires of the relay: the content of the files that its settings name."""

from __future__ import annotations

from dataclasses import dataclass, field

from avatar_relay.certificate_dates import Validity
from avatar_relay.client_settings import ClientSettings
from avatar_relay.pem import read_authorities, read_key_pair, read_token


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM and token; None if there is none. Without `root_certificates`, gRPC's own roots verify the relay."""

    root_certificates: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    validity: Validity | None = None
    """Validity of the certificate."""


def read_credentials(settings: ClientSettings, now_s: int) -> Credentials:
    """Read the files, checked at `now_s` (Unix time). Raises `ConfigError`."""
    ca, token_file = settings.tls_ca_file, settings.token_file
    roots = None if ca is None else read_authorities("tls_ca_file", ca, now_s)
    token = None if token_file is None else read_token("token_file", token_file)
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return Credentials(roots, token=token)
    pair = read_key_pair(("tls_cert_file", "tls_key_file"), settings.tls_cert_file, settings.tls_key_file, now_s)
    return Credentials(roots, pair.certificate, pair.key, token, pair.validity)
