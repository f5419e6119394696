"""What the device shows the relay, and what the relay has to show: read from files for each stream, so that a rotated token or
certificate counts from the next stream on, without a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable

from avatar_relay.certificate_dates import Validity
from avatar_relay.client_credentials import Credentials, read_credentials
from avatar_relay.client_settings import ClientSettings
from avatar_relay.errors import ConfigError

logger = logging.getLogger(__name__)


class CredentialFiles:
    """Reads them; where that fails later on, what was read last still counts."""

    def __init__(self, settings: ClientSettings, unix_s: Callable[[], int]) -> None:
        """`unix_s` is the wall clock. Raises `ConfigError` if a file cannot be read, or is not what it should be."""
        self._settings = settings
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
                logger.warning("the previous one stays in effect: %s", error)
            self._failure = str(error)
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
