"""What the device shows the relay, and what the relay has to show: read from files for each stream, so that a rotated token or
certificate counts from the next stream on, without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from avatar_relay.credentials import clean_token
from avatar_relay.errors import ConfigError
from avatar_relay.pem import PemError, check_authorities, check_key_pair

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM and token; None where there is none. `root_certificates` None: gRPC's own roots vouch for the relay."""

    root_certificates: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


class CredentialFiles:
    """Reads them; where that fails later on, what was read last still counts."""

    def __init__(
        self,
        *,
        unix_s: Callable[[], int],
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        token: Path | None = None,
    ) -> None:
        """`unix_s` is the wall clock.

        Raises `ConfigError` where a file cannot be read, holds no token, or is no certificate with its key.
        """
        self._ca, self._certificate, self._key, self._token = ca, certificate, key, token
        self._unix_s = unix_s
        self._warned = 0
        """How many of the warnings that the certificate expires were given."""
        self._failure = ""
        self._last = self._read()

    def __call__(self) -> Credentials:
        """What the files hold now. Never raises."""
        try:
            self._last = self._read()
            self._failure = ""
        except ConfigError as error:
            if str(error) != self._failure:  # once, not at each try
                logger.warning("what was read before still counts: %s", error)
            self._failure = str(error)
        return self._last

    def _read(self) -> Credentials:
        try:
            self._check()
        except PemError as error:
            raise ConfigError(str(error)) from error
        except OSError as error:
            raise ConfigError(f"{self._setting_of(error.filename)}: {error.filename} cannot be read: {error.strerror}") from error
        return Credentials(
            _bytes("tls_ca_file", self._ca),
            _bytes("tls_cert_file", self._certificate),
            _bytes("tls_key_file", self._key),
            _token("token_file", self._token),
        )

    def _check(self) -> None:
        now_s = self._unix_s()
        if self._ca is not None:
            check_authorities("tls_ca_file", self._ca, now_s)
        if self._certificate is not None and self._key is not None:
            validity = check_key_pair(("tls_cert_file", "tls_key_file"), self._certificate, self._key, now_s)
            if (text := validity.warning(now_s)) and validity.stage(now_s) > self._warned:
                logger.warning("tls_cert_file: %s %s", self._certificate, text)
            self._warned = validity.stage(now_s)

    def _setting_of(self, path: object) -> str:
        return {str(self._ca): "tls_ca_file", str(self._key): "tls_key_file"}.get(str(path), "tls_cert_file")


def _bytes(name: str, path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: {path} can not be read: {error.strerror}") from error


def _token(name: str, path: Path | None) -> str | None:
    data = _bytes(name, path)
    try:
        return None if data is None else clean_token(data.decode(errors="replace"))
    except ValueError as error:
        raise ConfigError(f"{name}: {path} {error}") from None
