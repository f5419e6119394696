"""The device's credentials, and the certificate authority for the relay's: read from files for each stream.

A rotated token or certificate takes effect at the next stream, without a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from avatar_relay.certificate_dates import Validity
from avatar_relay.client_credentials import Credentials, read_credentials
from avatar_relay.client_settings import ClientSettings
from avatar_relay.errors import ConfigError

logger = logging.getLogger(__name__)


class CredentialFiles:
    """Reads the credential files; if a later read fails, the last credentials remain in use."""

    def __init__(self, settings: ClientSettings, unix_s: Callable[[], int]) -> None:
        """`unix_s` is the wall clock. Raises `ConfigError` if a file cannot be read or parsed."""
        self._settings = settings
        self._unix_s = unix_s
        self._warned = 0
        """Number of certificate expiry warnings logged so far."""
        self._failure = ""
        self._last = self._read()

    def __call__(self) -> Credentials:
        """The current content of the files. Never raises."""
        try:
            self._last = self._read()
            self._failure = ""
        except (ConfigError, OSError, MemoryError) as error:
            text = str(error) or type(error).__name__
            if text != self._failure:  # logged once, not at each attempt
                logger.warning("the previous one stays in effect: %s", text)
            self._failure = text
        return self._last

    def _read(self) -> Credentials:
        now_s = self._unix_s()
        found = read_credentials(self._settings, now_s)
        if found.validity is not None:
            self._warn(found.validity, now_s)
        return found

    def _warn(self, validity: Validity, now_s: int) -> None:
        if (text := validity.warning(now_s)) and validity.stage(now_s) > self._warned:
            logger.warning("tls_cert_file: %s %s", self._settings.tls_cert_file, text)
        self._warned = validity.stage(now_s)
