"""The filters, on real connections: what the kernel lets through."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

import pytest

from relay_server.access.packet_filter import MAX_NETWORKS, drop_all, drop_data_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the filters are Linux's")

ATTACH_FILTER, DETACH_FILTER = 26, 27
MANY = tuple(f"192.0.2.{number}" for number in range(MAX_NETWORKS)) + tuple(f"2001:db8:{number:x}::" for number in range(MAX_NETWORKS))


def attach(one: socket.socket, program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program)
    one.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(buffer)))


def received(listening: socket.socket, family: int, target: tuple[str, int], source: str) -> bytes:
    """Connect from `source` and send; returns what the accepted connection receives with its inherited filter, then without."""
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.bind((source, 0))
        client.settimeout(5)
        client.connect(target)
        accepted, _ = listening.accept()
        with accepted:
            client.sendall(b"data")
            accepted.settimeout(0.1)
            try:
                return accepted.recv(10)
            except TimeoutError:
                accepted.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)
                accepted.settimeout(5)
                return b"later: " + accepted.recv(10)


@pytest.mark.parametrize(
    ("networks", "heard"),
    [
        ([], b"data"),
        (["192.0.2.1"], b"data"),
        (["127.0.0.1"], b"later: data"),
        (["2001:db8::", "192.0.2.1", "127.0.0.1", "192.0.2.2"], b"later: data"),
        ([*MANY, "127.0.0.1"], b"later: data"),
        (["127.0.0.1", *MANY], b"data"),
    ],
)
def test_data_of_some_ipv4_addresses_waits(networks: list[str], heard: bytes) -> None:
    """Their connections are established, and what they sent arrives once the filter is gone. At most `MAX_NETWORKS` count."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        attach(listening, drop_data_of(networks))
        assert received(listening, socket.AF_INET, listening.getsockname(), "127.0.0.1") == heard


@pytest.mark.parametrize(
    ("networks", "heard"),
    [(["2001:db8::", "127.0.0.1"], b"data"), (["::", "127.0.0.1"], b"later: data"), (["2001:db8::", "::", "2001:db8:1::"], b"later: data")],
)
def test_data_of_some_ipv6_networks_waits(networks: list[str], heard: bytes) -> None:
    """`::` is the /64 of `::1`."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6")
    with listening:
        attach(listening, drop_data_of(networks))
        assert received(listening, socket.AF_INET6, listening.getsockname()[:2], "::1") == heard


def test_ipv4_on_a_socket_of_ipv6() -> None:
    """As gRPC listens to `[::]`."""
    try:
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        pytest.skip("no dual stack")
    with listening:
        attach(listening, drop_data_of(["127.0.0.1"]))
        target = ("127.0.0.1", listening.getsockname()[1])
        assert received(listening, socket.AF_INET, target, "127.0.0.1") == b"later: data"


def test_all_is_dropped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        with accepted:
            attach(accepted, drop_all())
            client.sendall(b"data")
            accepted.settimeout(0.1)
            with pytest.raises(TimeoutError):
                accepted.recv(10)
