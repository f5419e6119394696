"""Discovers the relay of a device that has no configured address. Runs on one thread, which may block.

Rules
1. Without the device's own credentials, a relay on this machine comes first; if TLS is configured, only one that speaks TLS.
2. Otherwise the announced relays are tried in the order of `in_order`, each at the first of its addresses that answers. Those announced
   within `GATHER_S` of the first one are considered together. The log names the chosen one, and how to choose another.
3. A plaintext relay is skipped, unless it is on this machine or the settings allow it: announcements prove nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.announcement import Announcement, in_order
from avatar_relay.spoken import speaks
from edge_client.config import LOCAL_RELAY, EdgeConfig
from edge_client.errors import DiscoveryError
from edge_client.link.browser import Browser

logger = logging.getLogger(__name__)

GATHER_S = 1.5
LOOK_S = 1.0
SEARCHING = "no relay was found in this network yet"


@dataclass(frozen=True, slots=True)
class FoundRelay:
    """Where a relay answers."""

    address: str
    tls: bool
    name: str = ""
    """Its announced name; empty if it was not announced."""
    pairing: bool = False


@dataclass(frozen=True, slots=True)
class SearchClock:
    """Clock of a search: the time, and a wait for a number of seconds that returns True if the search should stop."""

    now_us: Callable[[], int]
    wait: Callable[[float], bool]


class SearchStoppedError(Exception):
    """The search was stopped from outside."""


class NotOfferedError(Exception):
    """The relay pairs no devices."""


class RelayFinder:
    """Searches until a relay is found. `wait` waits for a number of seconds, and returns True if the search should stop."""

    def __init__(self, config: EdgeConfig, wait: Callable[[float], bool], browse: Callable[[], Browser] = Browser) -> None:
        self._config = config
        self._wait = wait
        self._browse = browse

    def find(self) -> FoundRelay | None:
        """A relay; None if the search was stopped."""
        local = "tls" if self._config.tls_to(LOCAL_RELAY) else "plaintext"
        if speaks(LOCAL_RELAY) == local:
            logger.info("found a relay on this machine, at %s", LOCAL_RELAY)
            return FoundRelay(LOCAL_RELAY, local == "tls")
        try:
            browser = self._browse()
        except DiscoveryError as error:
            logger.warning("not searching this network for a relay: %s; %s is tried", error, LOCAL_RELAY)
            return FoundRelay(LOCAL_RELAY, local == "tls")
        try:
            return self._search(browser)
        finally:
            browser.close()

    def find_again(self, address: str, name: str) -> str:
        """Find a known relay: at its previous address, else where its name is announced; empty if the search was stopped.

        Its certificate proves that it is the same relay.
        """
        if not name or speaks(address):
            return address
        try:
            browser = self._browse()
        except DiscoveryError:
            return address
        try:
            while not self._wait(LOOK_S):
                others = [one for relay in browser.found() if relay.tls and relay.name == name for one in relay.addresses]
                answering = next((one for one in (address, *others) if speaks(one)), "")
                if answering:
                    logger.info("the relay %s is at %s", name, answering)
                    return answering
        finally:
            browser.close()
        return ""

    def _search(self, browser: Browser) -> FoundRelay | None:
        logger.info("searching this network for an announced relay")
        refused: set[Announcement] = set()
        while True:
            if browser.found() and self._wait(GATHER_S):
                return None
            found = in_order(browser.found())
            for relay in found:
                address = self._address_of(relay, refused)
                if address:
                    _say(relay, address, found)
                    return FoundRelay(address, relay.tls, relay.name, relay.pairing)
            if self._wait(LOOK_S):
                return None

    def _address_of(self, relay: Announcement, refused: set[Announcement]) -> str:
        """The first of a relay's addresses that is allowed and answers; empty if there is none."""
        usable = [one for one in relay.addresses if relay.tls or self._config.insecure or is_loopback(split_address(one, "relay")[0])]
        if not usable and relay not in refused:
            refused.add(relay)
            logger.warning("%s is not taken: it uses plaintext, which needs `insecure`", relay)
        return next((one for one in usable if speaks(one) == ("tls" if relay.tls else "plaintext")), "")


def _say(relay: Announcement, address: str, found: list[Announcement]) -> None:
    if len(found) == 1:
        logger.info("found relay %s at %s", relay.name, address)
    else:
        others = "; ".join(str(one) for one in found)
        logger.info(
            "%d relays announce themselves (%s): taking %s at %s; set `relay` to take another", len(found), others, relay.name, address
        )
