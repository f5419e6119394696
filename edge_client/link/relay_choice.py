"""Which relay a device attaches to, and by what the two know each other: as the settings say, as it was paired, or as it is found now.

A pairing counts where the settings give no credentials and no other address. It gives the device its name, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_relay.addresses import is_loopback, split_address
from edge_client.config import AUTO, EdgeConfig
from edge_client.link.attach_call import Endpoint
from edge_client.link.credentials import CredentialFiles, Credentials
from edge_client.link.relay_finder import FoundRelay, NotOfferedError, RelayFinder, SearchClock, SearchStoppedError
from edge_client.paired import Paired, PairingFile

if TYPE_CHECKING:
    from edge_client.link.pairing import Pairing

logger = logging.getLogger(__name__)


class RelayChoice:
    """Made at the start; `endpoint` may wait for days. Other threads may read the rest."""

    def __init__(
        self,
        config: EdgeConfig,
        host_name: str,
        folder: Path | None,
        clock: SearchClock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`host_name` is the device's if neither settings nor pairing give it one; `folder` is where it keeps its state, if it can."""
        self._config = config
        self._clock = clock
        self._random_bytes = random_bytes
        pairs = config.pairing and not config.has_credentials and folder is not None
        self._file = PairingFile(folder) if pairs and folder is not None else None
        paired = self._file.read() if self._file is not None else None
        self._paired = paired if paired is not None and config.relay in (AUTO, paired.address) else None
        self._pairing: Pairing | None = None
        self.device_id = self._paired.device_id if self._paired is not None else config.device_id or host_name

    @property
    def shown(self) -> str:
        """NAME-CODE while the device waits to be paired; else empty."""
        return self._pairing.shown if self._pairing is not None else ""

    def endpoint(self, files: CredentialFiles) -> Endpoint | None:
        """The relay, found and paired with; None where the search was ended. `files` are the credentials of the settings."""
        finder = RelayFinder(self._config, self._clock.wait)
        if self._paired is not None:
            known = self._paired
            address = finder.find_again(known.address, known.relay_name) if self._config.relay == AUTO else known.address
            return _endpoint_of(known, address) if address else None
        found = self._given() or finder.find()
        if found is None:
            return None
        if found.pairing and self._file is not None:
            try:
                return self._pair(found, self._file)
            except NotOfferedError:
                logger.debug("the relay at %s pairs no devices", found.address)
            except SearchStoppedError:
                return None
        return Endpoint(found.address, found.tls, files)

    def _given(self) -> FoundRelay | None:
        """The relay of the settings. Whether it pairs is to be tried, unless it is on this machine."""
        address = self._config.relay
        if address == AUTO:
            return None
        return FoundRelay(address, self._config.tls_to(address), pairing=not is_loopback(split_address(address, "relay")[0]))

    def _pair(self, found: FoundRelay, file: PairingFile) -> Endpoint:
        from edge_client.link.pairing import Pairing  # late: few devices of few days pair

        name = self._config.device_id or f"{self.device_id[:59]}-{self._random_bytes(2).hex()}"  # host names are often the same
        self._pairing = Pairing(name, self._clock, self._random_bytes, file.write)
        paired = self._paired = self._pairing.pair(found)
        self.device_id = paired.device_id
        return _endpoint_of(paired, paired.address)


def _endpoint_of(paired: Paired, address: str) -> Endpoint:
    credentials = Credentials(root_certificates=paired.certificates.encode(), token=paired.token)
    return Endpoint(address, True, lambda: credentials, paired.certificate_name)
