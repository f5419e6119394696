"""Addresses of settings and command lines."""

from __future__ import annotations

import pytest

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("127.0.0.1:1", "127.0.0.1", 1), ("[::1]:52000", "::1", 52_000), ("localhost:65535", "localhost", 65_535)],
)
def test_addresses_are_split(address: str, host: str, port: int) -> None:
    """IPv6 hosts are returned without brackets."""
    assert split_address(address, "relay") == (host, port)
    assert is_loopback(host)


def test_port_zero_is_for_servers() -> None:
    """A client cannot connect to port 0; a server listens on a free one."""
    assert split_address("127.0.0.1:0", "listen", port_zero=True) == ("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        split_address("127.0.0.1:0", "relay")


@pytest.mark.parametrize("address", ["nowhere", ":52000", "::1:52000", "host:", "host:-1", "host:٣", "host:65536", "[]:1"])
def test_other_addresses_are_refused(address: str) -> None:
    """The error has the setting's name and an example."""
    with pytest.raises(ConfigError, match=r"listen: .* is not HOST:PORT, such as"):
        split_address(address, "listen", port_zero=True)


@pytest.mark.parametrize("host", ["10.0.0.1", "relay.local", "0.0.0.0", "::", "localhost.evil.example"])
def test_other_machines_are_no_loopback(host: str) -> None:
    """A name that only resembles a local one is another machine."""
    assert not is_loopback(host)
