"""The library resolves a relay's name with the system's resolver, with and without TLS, and does not change the environment."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.publisher import ConnectionLostError, Publisher
from avatar_relay.publisher.name_lookup import NameLookup
from relay_server.config import RelayConfig
from relay_server.server import build_relay, serving
from tests.avatar_relay.publisher.test_with_relay import Mute
from tests.relay_server.access.guarded import Authority, over_tls, trusting

NAME = "box.local"


class Names:
    """A fake system resolver: each known name has a dead IPv6 address first. It hangs until it `may_answer`."""

    def __init__(self, *known: str) -> None:
        self.known = known
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def getaddrinfo(self, host: str, port: object, **_: object) -> list[Any]:
        self.asked.append(host)
        self.threads.add(threading.get_ident())
        assert self.may_answer.wait(20)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    known = Names(NAME)
    monkeypatch.setattr("avatar_relay.publisher.name_lookup.socket.getaddrinfo", known.getaddrinfo)
    yield known
    known.may_answer.set()


async def test_a_name_of_the_system_is_found(names: Names) -> None:
    """By its second address; in another thread; the environment is unchanged."""
    before = dict(os.environ)
    async with serving(build_relay(RelayConfig(listen="127.0.0.1:0")), Mute()) as (_, address):
        port = address.rpartition(":")[2]
        async with asyncio.timeout(10), Publisher.connect(f"{NAME}:{port}") as publisher:
            assert publisher.is_connected
    assert names.asked == [NAME]
    assert threading.get_ident() not in names.threads
    assert dict(os.environ) == before


async def test_tls_looks_for_the_name_in_the_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The address alone is not enough."""
    authority = Authority(tmp_path)
    async with over_tls(authority, None) as relay:
        port = relay.addresses[0].rpartition(":")[2]
        names = Names("localhost", NAME)
        monkeypatch.setattr("avatar_relay.publisher.name_lookup.socket.getaddrinfo", names.getaddrinfo)
        async with asyncio.timeout(10), Publisher.connect(f"localhost:{port}", credentials=trusting(authority)) as publisher:
            assert publisher.is_connected
        monkeypatch.setattr("avatar_relay.publisher.publisher.PUBLISHER_LEASE_US", 1_000_000)
        with pytest.raises(ConnectionLostError, match="UNAVAILABLE"):
            async with Publisher.connect(f"{NAME}:{port}", credentials=trusting(authority)):
                pytest.fail("the certificate is for another name")


async def test_an_unknown_name_is_said_clearly(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name may exist later: not final."""
    monkeypatch.setattr("avatar_relay.publisher.publisher.PUBLISHER_LEASE_US", 300_000)
    with pytest.raises(ConnectionLostError, match=r"the name 'nowhere\.local' of the relay is not known here") as caught:
        async with Publisher.connect("nowhere.local:52000"):
            pytest.fail("there is none")
    assert not caught.value.final
    assert len(names.asked) > 1


async def test_a_lookup_that_hangs_is_waited_for_and_not_repeated(names: Names) -> None:
    """Cancelling does not end it; the next call uses its result, and the one after that starts a new lookup."""
    names.may_answer.clear()
    lookup = NameLookup(f"{NAME}:1")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await lookup.target()
    assert names.asked == [NAME]
    names.may_answer.set()
    target, options = await asyncio.wait_for(lookup.target(), 10)
    assert target == "ipv6:[::1]:1,[::ffff:127.0.0.1]:1"
    assert options == (("grpc.default_authority", f"{NAME}:1"),)
    await asyncio.wait_for(lookup.target(), 10)
    assert names.asked == [NAME] * 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "unix:/run/relay.sock", "nonsense"])
async def test_what_is_no_name_is_left_to_grpc(names: Names, address: str) -> None:
    """Passed unchanged."""
    assert await NameLookup(address).target() == (address, ())
    assert names.asked == []


async def test_a_proxy_looks_up_the_name(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in another network."""
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    assert await NameLookup("relay.example:1").target() == ("relay.example:1", ())
    assert names.asked == []
