"""Relays announced by real multicast DNS on the loopback interface, and a device that chooses one of them."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import spoken
from avatar_relay.announcement import Announcement, in_order, read_announcement
from avatar_relay.spoken import speaks
from edge_client.config import EdgeConfig
from edge_client.errors import DiscoveryError
from edge_client.link import relay_finder
from edge_client.link.browser import Browser
from edge_client.link.relay_finder import FoundRelay, RelayFinder
from relay_server.announcer import Announcer, is_announced
from tests.relay_server.access.guarded import Authority

PATIENCE_S = 20.0
SERVICE = "_avr-test-finder._tcp.local."
"""Other runs of these tests on this machine must not be found."""


@pytest.fixture(autouse=True)
def nothing_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay's default port may be used by another program."""
    monkeypatch.setattr(relay_finder, "LOCAL_RELAY", "127.0.0.1:1")


@contextmanager
def listener(authority: Authority | None) -> Iterator[int]:
    """A relay as a probe sees it: with a certificate it speaks TLS, otherwise it closes connections that it cannot parse."""
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("localhost"))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                with taken:
                    try:
                        if context is not None:
                            context.wrap_socket(taken, server_side=True).close()
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


browse = functools.partial(Browser, service=SERVICE, interfaces=["127.0.0.1"])


async def find(config: EdgeConfig | None = None) -> FoundRelay | None:
    stopped = threading.Event()
    finder = RelayFinder(config or EdgeConfig(), stopped.wait, browse)
    try:
        return await asyncio.wait_for(asyncio.to_thread(finder.find), PATIENCE_S)
    finally:
        stopped.set()


async def test_one_of_two_relays_is_taken_by_a_rule(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with listener(None) as first, listener(authority) as second:
        announcers = [
            asyncio.create_task(Announcer(f"127.0.0.1:{port}", tls=tls, pairing=tls, service=SERVICE).run())
            for port, tls in ((first, False), (second, True))
        ]
        async with asyncio.timeout(PATIENCE_S):
            while sum("announced in the network" in line for line in caplog.messages) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        found = await find()
        assert found is not None
        assert (found.address, found.tls, found.pairing) == (f"127.0.0.1:{second}", True, True)
        (line,) = [line for line in caplog.messages if "taking" in line]
        assert line.startswith("2 relays announce themselves (") and f"at 127.0.0.1:{second}; set `relay`" in line
        announcers[1].cancel()
        await asyncio.wait({announcers[1]})
        found = await find()
        assert found is not None and (found.address, found.tls) == (f"127.0.0.1:{first}", False)
        announcers[0].cancel()
        await asyncio.wait({announcers[0]})


async def test_a_search_ends_when_it_is_told_to() -> None:
    stopped = threading.Event()
    finding = asyncio.create_task(asyncio.to_thread(RelayFinder(EdgeConfig(), stopped.wait, browse).find))
    await asyncio.sleep(0.1)
    stopped.set()
    assert await asyncio.wait_for(finding, PATIENCE_S) is None


async def test_without_the_library_the_address_of_this_machine_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> Browser:
        raise DiscoveryError("the package zeroconf is not installed: pip install 'avatar-relay[discovery]'")

    assert RelayFinder(EdgeConfig(), lambda _: False, missing).find() == FoundRelay("127.0.0.1:1", False)
    assert "pip install 'avatar-relay[discovery]'" in caplog.text


def test_a_relay_on_this_machine_comes_first(authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never() -> Browser:
        raise AssertionError

    with listener(None) as plain, listener(authority) as encrypted:
        assert (speaks(f"127.0.0.1:{plain}"), speaks(f"127.0.0.1:{encrypted}"), speaks("127.0.0.1:1")) == ("plaintext", "tls", "")
        monkeypatch.setattr(relay_finder, "LOCAL_RELAY", f"127.0.0.1:{plain}")
        assert RelayFinder(EdgeConfig(), lambda _: False, never).find() == FoundRelay(f"127.0.0.1:{plain}", False)
        monkeypatch.setattr(relay_finder, "LOCAL_RELAY", f"127.0.0.1:{encrypted}")
        config = EdgeConfig(tls_ca_file=authority.certificate)
        assert RelayFinder(config, lambda _: False, never).find() == FoundRelay(f"127.0.0.1:{encrypted}", True)


@pytest.mark.parametrize(
    ("choice", "address", "announced"),
    [("auto", "127.0.0.1:0", False), ("auto", "0.0.0.0:52000", True), ("on", "127.0.0.1:0", True), ("off", "0.0.0.0:1", False)],
)
def test_a_relay_is_announced_where_others_can_reach_it(choice: str, address: str, announced: bool) -> None:
    assert is_announced(choice, address) is announced


def test_what_takes_connections_and_says_nothing_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "PROBE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert speaks(f"127.0.0.1:{silent.getsockname()[1]}") == ""


def plaintext_elsewhere() -> Callable[[], Browser]:
    class Strange(Browser):
        def __init__(self) -> None: ...

        def found(self) -> list[Announcement]:
            return [Announcement("evil", ("192.0.2.1:52000",))]

        def close(self) -> None: ...

    return Strange


def test_plaintext_beyond_this_machine_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    waits = iter([False, False, True])
    assert RelayFinder(EdgeConfig(), lambda _: next(waits), plaintext_elsewhere()).find() is None
    assert "evil at 192.0.2.1:52000 (plaintext) is not taken" in caplog.text


@given(st.text(max_size=80), st.lists(st.ip_addresses().map(str), max_size=5), st.integers(0, 70_000), st.booleans())
def test_what_is_announced_is_read_or_left_out(name: str, hosts: list[str], port: int, tls: bool) -> None:
    said = {key.encode(): value.encode() for key, value in Announcement("", (), tls).properties().items()}
    read = read_announcement(name, hosts, port, said)
    if read is not None:
        assert read.name.isprintable() and read.tls is tls and 0 < len(read.addresses) <= len(hosts)
        assert in_order([read, Announcement("a", ("1.2.3.4:5",), tls=True)])[0].tls
    else:
        assert not 0 < port < 65_536 or all(host.startswith("fe80") for host in hosts)
