"""Announces a relay in the local network by multicast DNS, so that devices find it without an address."""

from __future__ import annotations

import asyncio
import logging
import platform
import socket
import time
from typing import Any

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.announcement import MAX_NAME_BYTES, SERVICE, Announcement
from avatar_relay.errors import ConfigError
from relay_server.access.own_thread import OwnThread

logger = logging.getLogger(__name__)

ADDRESSES_S = 30.0
"""Interval of checking this machine's addresses, which DHCP may change."""
HEAR_S = 1.0
"""How long to listen for names in use."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})


def is_announced(choice: str, address: str) -> bool:
    """Whether a relay that listens on `address` is announced; `choice` is the setting `announce`.

    Raises `ConfigError` if it is set to on and zeroconf is not installed.
    """
    if choice == "off" or (choice == "auto" and is_loopback(split_address(address, "listen", port_zero=True)[0])):
        return False
    try:
        import zeroconf  # noqa: F401  # late import: it takes 0.2 s
    except ImportError as error:
        if choice == "on":
            raise ConfigError(
                "announce: needs the package zeroconf: pip install 'avatar-relay[discovery]', or set announce to off"
            ) from error
        logger.info("not announced in the network: the package zeroconf is not installed")
        return False
    return True


class Announcer:
    """Announces one relay until cancelled. Multicast DNS runs in threads of its own, so that it does not delay media."""

    def __init__(self, address: str, *, tls: bool, pairing: bool, service: str = SERVICE) -> None:
        """`address` is the HOST:PORT on which the relay listens; `service` is the mDNS service type."""
        host, self._port = split_address(address, "listen")
        self._host = host
        self._said = Announcement(_short(platform.node() or "relay"), (), tls, pairing)
        self._service = service
        self._thread = OwnThread("announcement")

    async def run(self) -> None:
        """Announce the relay, and again when this machine's addresses change. Failures are logged and retried."""
        zeroconf: Any = None
        told: tuple[str, ...] = ()
        try:
            while True:
                try:
                    hosts = await self._thread.do(self._hosts)
                    if hosts and (zeroconf is None or hosts != told):
                        if zeroconf is not None:
                            await self._thread.do(zeroconf.close)
                        zeroconf = await self._thread.do(lambda hosts=hosts: self._announce(hosts))  # type: ignore[misc]
                        told = hosts
                except Exception as error:  # OSError and zeroconf's own errors; none of them may end the relay
                    logger.warning("the relay cannot be announced now; trying again: %s", str(error) or type(error).__name__)
                await asyncio.sleep(ADDRESSES_S)
        finally:
            if zeroconf is not None:
                zeroconf.close()

    def _hosts(self) -> tuple[str, ...]:
        if self._host not in _EVERYWHERE:
            return (socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][4][0],)  # type: ignore[return-value]
        import ifaddr  # a dependency of zeroconf

        found = {ip.ip if ip.is_IPv4 else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips}
        return tuple(sorted(str(one) for one in found if not is_loopback(str(one)) and not str(one).startswith("fe80")))

    def _announce(self, hosts: tuple[str, ...]) -> Any:
        from zeroconf import InterfaceChoice, ServiceInfo, Zeroconf

        own = [self._host] if is_loopback(self._host) else InterfaceChoice.Default
        zeroconf = Zeroconf(interfaces=own)
        try:
            _hear_names(zeroconf, self._service)
            info = ServiceInfo(
                self._service,
                f"{self._said.name}.{self._service}",
                self._port,
                parsed_addresses=list(hosts),
                properties=self._said.properties(),
                server=f"{self._said.name}-{self._port}.local.",
            )
            zeroconf.register_service(info, allow_name_change=True)
        except BaseException:
            zeroconf.close()
            raise
        logger.info("announced in the network as %s", info.name.removesuffix(f".{self._service}"))
        return zeroconf


def _hear_names(zeroconf: Any, service: str) -> None:
    """Listen for names in use, so that registration chooses another one. Blocks for `HEAR_S`.

    Registration queries too, but for unicast answers, and any one of the programs that share the port on this machine may receive those.
    """
    from zeroconf import DNSQuestionType, ServiceBrowser

    browser = ServiceBrowser(zeroconf, service, handlers=[lambda **_: None], question_type=DNSQuestionType.QM)
    time.sleep(HEAR_S)
    browser.cancel()


def _short(name: str) -> str:
    """A host name as a single DNS label, with room for a numeric suffix."""
    return name.partition(".")[0].encode()[: MAX_NAME_BYTES - 12].decode(errors="ignore") or "relay"
