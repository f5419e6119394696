"""The relay's certificate, reloaded when its files change: each new connection gets the current one, open connections keep theirs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from avatar_relay.certificate_dates import Validity, clock_fault, first_certificate
from avatar_relay.pem import PemError, read_authorities, read_key_pair, unreadable
from relay_server.access.store import Version, version_of

logger = logging.getLogger(__name__)

WARN_EVERY_S = 3_600.0
"""How often the expiry is checked."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the relay's certificate (with its chain) and key, and the CA for clients; None: clients need no certificate."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def by_setting(self) -> dict[str, Path]:
        """All files, by setting."""
        files = {"tls_cert_file": self.certificate, "tls_key_file": self.key, "tls_client_ca_file": self.client_ca}
        return {setting: path for setting, path in files.items() if path is not None}


class HotCertificate:
    """A certificate whose files are checked at each connection. gRPC calls it from its own threads."""

    def __init__(self, files: TlsFiles, unix_s: Callable[[], int]) -> None:
        """`unix_s` is the wall clock. Raises `ConfigError` if the files are not a certificate with its key, or it is not valid now."""
        self._files = files
        self._unix_s = unix_s
        self._validity = Validity(0, 0)
        self.sha256 = b""
        """SHA-256 of the certificate (DER) that new connections get."""
        self._warned = 0
        """How many of the expiry warnings were logged."""
        self._lock = threading.Lock()
        self._read_versions: tuple[Version, ...] = ()
        """The versions that were fully read; files that could not be read for a transient reason are read again."""
        self._failing = False
        self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for `add_secure_port`: TLS 1.2 or later, gRPC's own minimum."""
        fetch: Any = self._latest  # its None, "no change", is missing in the stubs
        return grpc.dynamic_ssl_server_credentials(self._configuration, fetch, self._files.client_ca is not None)

    @property
    def expires_in_s(self) -> int:
        """Time until it expires, in s; negative once it has expired."""
        return self._validity.not_after_s - self._unix_s()

    async def watch(self) -> None:
        """Warn 30 and 7 days before it expires, and after it has expired, until cancelled."""
        while True:
            self.warn()
            await asyncio.sleep(WARN_EVERY_S)

    def warn(self) -> None:
        """Log a warning if one is due, once for each reason."""
        now_s = self._unix_s()
        due = self._validity.stage(now_s) + (self.expires_in_s < 0)
        text = clock_fault(now_s) or self._validity.fault(now_s) or self._validity.warning(now_s)
        if text and (due > self._warned or (clock_fault(now_s) and not self._warned)):
            logger.warning("tls_cert_file: %s: %s", self._files.certificate, text)
            self._warned = max(due, 1)

    def _latest(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None if nothing changed, or if the new files cannot be used: the last good one stays.

        Files that do not match (yet) are logged once. Files that cannot be read are retried at each connection, and logged once until that
        succeeds.
        """
        with self._lock:
            try:
                if self._versions() == self._read_versions:
                    return None
                self._configuration = self._read()
            except PemError as error:
                logger.error("the certificate cannot be used, the old one stays: %s", error)
                return None
            except Exception as error:  # no descriptor or memory left, or a failing disk: says nothing about the files' content
                if not self._failing:
                    text = str(error) or type(error).__name__
                    logger.error("the certificate cannot be read now, the old one stays; each new connection tries again: %s", text)
                self._failing = True
                return None
            self._failing = False
        logger.info("a new certificate is in use: %s", self._files.certificate)
        return self._configuration

    def _versions(self) -> tuple[Version, ...]:
        versions = []
        for setting, path in self._files.by_setting.items():
            try:
                versions.append(version_of(path))
            except OSError as error:
                raise unreadable(setting, path, error) from error
        return tuple(versions)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Read and check all files; a change during the read is found by the next connection.

        Raises `PemError`, and `UnreadableError` for transient failures.
        """
        versions = self._versions()
        try:
            configuration = self._checked()
        except PemError:
            self._read_versions = versions
            raise
        self._read_versions = versions
        return configuration

    def _checked(self) -> grpc.ServerCertificateConfiguration:
        now_s = self._unix_s()
        pair = read_key_pair(("tls_cert_file", "tls_key_file"), self._files.certificate, self._files.key, now_s)
        client_ca = self._files.client_ca
        authorities = None if client_ca is None else read_authorities("tls_client_ca_file", client_ca, now_s)
        sha256 = hashlib.sha256(first_certificate(pair.certificate)).digest()
        configuration = grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], authorities)
        self.sha256, self._validity, self._warned = sha256, pair.validity, 0
        return configuration
