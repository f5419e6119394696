"""Selects the relay that a device attaches to, and the credentials for it: configured, from a pairing, or discovered.

A pairing applies if the settings contain no credentials and no other address. It also defines the device's name.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.client_credentials import Credentials
from edge_client.config import AUTO, EdgeConfig
from edge_client.link.attach_call import Endpoint
from edge_client.link.credentials import CredentialFiles
from edge_client.link.relay_finder import FoundRelay, NotOfferedError, RelayFinder, SearchClock, SearchStoppedError
from edge_client.paired import Paired, PairingFile

if TYPE_CHECKING:
    from edge_client.link.pairing import Pairing

logger = logging.getLogger(__name__)


class RelayChoice:
    """Created at start-up; `endpoint` may block for days. Other threads may read the rest."""

    def __init__(
        self,
        config: EdgeConfig,
        host_name: str,
        folder: Path | None,
        clock: SearchClock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`host_name` names the device if neither settings nor pairing do; `folder` holds its state, if there is one."""
        self._config = config
        self._clock = clock
        self._random_bytes = random_bytes
        self._folder = folder
        self._paired = paired_of(config, folder)
        self._pairing: Pairing | None = None
        self.device_id = self._paired.device_id if self._paired is not None else config.device_id or host_name

    @property
    def shown(self) -> str:
        """NAME-CODE while the device waits to be paired; else empty."""
        return self._pairing.shown if self._pairing is not None else ""

    def endpoint(self, files: CredentialFiles) -> Endpoint | None:
        """The relay, discovered and paired with; None if the search was stopped. `files` are the configured credentials."""
        finder = RelayFinder(self._config, self._clock.wait)
        if self._paired is not None:
            known = self._paired
            address = finder.find_again(known.address, known.relay_name) if self._config.relay == AUTO else known.address
            return endpoint_of_pairing(known, address) if address else None
        relays = self._config.relay
        if relays == AUTO:
            found = finder.find()
        else:  # it may offer pairing: to be tried, unless it is on this machine
            remote = len(relays) == 1 and not is_loopback(split_address(relays[0], "relay")[0])
            found = FoundRelay(relays[0], self._config.tls, pairing=remote)
        if found is None:
            return None
        if found.pairing and self._folder is not None and _pairs(self._config) and _is_able():
            try:
                return self._pair(found, PairingFile(self._folder))
            except NotOfferedError:
                logger.debug("the relay at %s does not support pairing", found.address)
            except SearchStoppedError:
                return None
        return Endpoint(found.address, found.tls, files, () if relays == AUTO else relays[1:])

    def _pair(self, found: FoundRelay, file: PairingFile) -> Endpoint:
        from edge_client.link.pairing import Pairing  # imported late: pairing is rare

        name = self._config.device_id or f"{self.device_id[:59]}-{self._random_bytes(2).hex()}"  # host names are often the same
        self._pairing = Pairing(name, self._clock, self._random_bytes, file.write)
        paired = self._paired = self._pairing.pair(found)
        self.device_id = paired.device_id
        return endpoint_of_pairing(paired, paired.address)


def _is_able() -> bool:
    """Whether the packages for pairing are installed; a missing one is logged."""
    able = importlib.util.find_spec("spake2") is not None
    if not able:
        logger.warning("not paired, and the package spake2 is not installed: pip install 'avatar-relay[pairing]'")
    return able


def _pairs(config: EdgeConfig) -> bool:
    return config.pairing and not config.has_credentials


def paired_of(config: EdgeConfig, folder: Path | None) -> Paired | None:
    """The pairing in the state folder, if it applies under the settings."""
    paired = PairingFile(folder).read() if _pairs(config) and folder is not None else None
    return paired if paired is not None and config.relay in (AUTO, (paired.address,)) else None


def endpoint_of_pairing(paired: Paired, address: str) -> Endpoint:
    """The relay of a pairing, at an address."""
    credentials = Credentials(root_certificates=paired.certificates.encode(), token=paired.token)
    return Endpoint(address, True, lambda: credentials, certificate_name=paired.certificate_name)
