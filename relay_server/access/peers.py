"""Addresses of peers: as gRPC formats them, and as a socket does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote

Endpoint = tuple[str, int]
"""Address and port of one end of a connection; port 0 if it has none."""


def endpoint_of(peer: str) -> Endpoint:
    """The endpoint in a gRPC peer string, such as `ipv4:127.0.0.1:40000`; the peer's kind and port 0 if it is not an IP address."""
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    address = _address(host.removeprefix("[").removesuffix("]"))
    return (kind, 0) if address is None else (str(address), int(port) if port.isdigit() else 0)


def network_of(host: str) -> str:
    """The network that belongs to one customer: an IPv4 address, or the /64 of an IPv6 address. Other text is returned unchanged."""
    address = _address(host)
    return str(IPv6Address(int(address) >> 64 << 64)) if isinstance(address, IPv6Address) else str(address or host)


def host_of(peer: str) -> str:
    """The network of a gRPC peer string."""
    return network_of(endpoint_of(peer)[0])


def is_within(host: str, networks: Sequence[str]) -> bool:
    """Whether an address is in a list of addresses and networks (CIDR)."""
    address = _address(host)
    return address is not None and any(address in ip_network(network, strict=False) for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
