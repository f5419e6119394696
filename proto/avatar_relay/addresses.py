"""Network addresses in settings and on command lines."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from avatar_relay.errors import ConfigError
from avatar_relay.relay_list import MAX_RELAYS


def split_address(address: str, name: str, *, port_zero: bool = False) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[HOST]:PORT`; an IPv6 host needs its brackets.

    `name` is the setting of the address, for the error. `port_zero`: port 0 is valid (a server then picks a free port). Raises
    `ConfigError`.
    """
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    valid_port = port.isascii() and port.isdigit() and len(port) <= 5 and (0 if port_zero else 1) <= int(port) <= 65_535
    if not bare or (":" in bare and bare == host) or not valid_port:
        raise ConfigError(f"{name}: {address[:80]!r} is not HOST:PORT, such as 127.0.0.1:52000 or [::1]:52000")
    return bare, int(port)


def split_addresses(addresses: Sequence[str], name: str) -> tuple[tuple[str, int], ...]:
    """Host and port of each of a client's relays. Raises `ConfigError` for an invalid one, and for more than `MAX_RELAYS`."""
    if not 0 < len(addresses) <= MAX_RELAYS:
        raise ConfigError(f"{name}: {len(addresses)} addresses; it takes 1 to {MAX_RELAYS}")
    return tuple(split_address(address, name) for address in addresses)


def is_wildcard(host: str) -> bool:
    """Whether `host` stands for all addresses of a machine, as in `0.0.0.0`: no client can connect to it."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine itself: a loopback address, or `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
