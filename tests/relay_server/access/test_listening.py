"""The addresses of the operator services: shared, separate, or off; and reflection only on request."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode as Code

from relay_server.config import RelayConfig
from relay_server.listening import why_not
from relay_server.server import build_relay, serving
from tests.relay_server.access.guarded import Access, code_of
from tests.relay_server.service.wired import FakeSpeech

LIST, PUBLISH = "/avatar_relay.v1.AdminService/ListDevices", "/avatar_relay.v1.PublisherService/Publish"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CHANNELZ, HEALTH = "/grpc.channelz.v1.Channelz/GetServers", "/grpc.health.v1.Health/Check"


async def served(address: str) -> set[str]:
    """Return the services at an address."""
    async with grpc.aio.insecure_channel(address) as channel:
        answers = {method: (await code_of(channel, method))[0] for method in (LIST, PUBLISH, REFLECTION, CHANNELZ, HEALTH)}
    return {method for method, code in answers.items() if code is not Code.UNIMPLEMENTED}


@pytest.mark.parametrize(
    ("settings", "for_all", "for_operators"),
    [
        ({}, {LIST, PUBLISH, REFLECTION, CHANNELZ, HEALTH}, None),
        ({"admin_listen": "127.0.0.1:0"}, {PUBLISH, HEALTH}, {LIST, REFLECTION, CHANNELZ, HEALTH}),
        ({"admin_listen": "off"}, {PUBLISH, HEALTH}, None),
        ({"reflection": False}, {LIST, PUBLISH, CHANNELZ, HEALTH}, None),
        ({"reflection": False, "admin_listen": "127.0.0.1:0"}, {PUBLISH, HEALTH}, {LIST, CHANNELZ, HEALTH}),
    ],
)
async def test_what_is_served_where(settings: dict[str, object], for_all: set[str], for_operators: set[str] | None) -> None:
    """Exactly these; anything else is UNIMPLEMENTED."""
    config = RelayConfig(listen="127.0.0.1:0", channelz=True, **settings)  # type: ignore[arg-type]
    async with serving(build_relay(config), FakeSpeech()) as (server, address):
        assert await served(address) == for_all
        assert [await served(other) for other in server.addresses[1:]] == ([] if for_operators is None else [for_operators])


async def test_both_doors_are_kept(tmp_path: Path) -> None:
    """A separate address does not bypass the credentials."""
    config = RelayConfig(listen="127.0.0.1:0", admin_listen="127.0.0.1:0", access_file=Access(tmp_path).path)
    async with serving(build_relay(config), FakeSpeech()) as (server, _):
        for address, method in zip(server.addresses, (PUBLISH, LIST), strict=True):
            async with grpc.aio.insecure_channel(address) as channel:
                assert (await code_of(channel, method))[0] is Code.UNAUTHENTICATED


@pytest.mark.parametrize(("guarded", "said"), [(False, "open for everybody"), (True, "open for identities of the access file")])
async def test_it_is_said_who_may_enter(tmp_path: Path, caplog: pytest.LogCaptureFixture, guarded: bool, said: str) -> None:
    """One line at start."""
    caplog.set_level(logging.INFO)
    config = RelayConfig(listen="127.0.0.1:0", access_file=Access(tmp_path).path if guarded else None)
    async with serving(build_relay(config), FakeSpeech()):
        pass
    assert len([record for record in caplog.records if said in record.message]) == 1


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "no address of this machine"),
        ("nosuch.invalid", r"nosuch\.invalid cannot be resolved"),
        ("a" * 100, "cannot be resolved"),
        ("127.0.0.1", "address already in use"),
    ],
)
def test_why_nothing_can_listen_there(host: str, said: str) -> None:
    """The error gives the reason and the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert re.search(said, why_not(host, taken.getsockname()[1]))
