"""The HTTP proxy that gRPC uses because of http_proxy and similar variables, which are often meant for something else.

The rules are those of gRPC's C core. The library and both programs never use a proxy to reach their own machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from avatar_relay.addresses import is_loopback

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""The first of them that is set is used; if it is empty, there is no proxy."""
EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
"""The first of them that is set lists the hosts reached without a proxy."""


def host_of(address: str) -> str:
    """The host of HOST:PORT, without the brackets of IPv6."""
    return address.rpartition(":")[0].strip("[]")


def proxy_option(address: str) -> tuple[tuple[str, int], ...]:
    """The channel option that disables proxies for an address on this machine; empty for other addresses."""
    return (("grpc.enable_http_proxy", 0),) if is_loopback(host_of(address)) else ()


def proxy_note(address: str, environment: Mapping[str, str]) -> str:
    """Describes the proxy on the way to HOST:PORT for an error text; empty without one. Never shows the proxy's user and password."""
    host = host_of(address)
    name = next((name for name in VARIABLES if name in environment), "")
    proxy = environment.get(name, "")
    if not proxy or is_loopback(host) or _is_excepted(host, environment):
        return ""
    return f"; the connection goes through the proxy {_place(proxy)} of {name}: to do without it, set no_grpc_proxy={host}"


def _place(proxy: str) -> str:
    """Host and port of a proxy's URL."""
    return (urlsplit(proxy).netloc if "://" in proxy else proxy).rpartition("@")[2][:80]


def _is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    listed = next((environment[name] for name in EXCEPTIONS if name in environment), "")
    return any(_covers(entry.strip(), host) for entry in listed.split(",") if entry.strip())


def _covers(entry: str, host: str) -> bool:
    """Whether an entry is a suffix of the host's name, or a network with its address."""
    if host.lower().endswith(entry.lower()):
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False
