"""The proxy selected by gRPC, and how errors name it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from avatar_relay.forward_proxy import proxy_note, proxy_option
from avatar_relay.publisher import Publisher
from avatar_relay.publisher.errors import ConnectionLostError
from edge_client.link.attach_call import AttachCall, Endpoint
from relay_server.config import RelayConfig
from relay_server.relayctl import cli as relayctl
from relay_server.server import build_relay, serving
from tests.avatar_relay.publisher.test_with_relay import Mute

PROXY = {"https_proxy": "http://user:secret@proxy.example:3128"}


@pytest.mark.parametrize(
    ("address", "environment", "named"),
    [
        ("relay.example:1", {}, ""),
        ("relay.example:1", PROXY, "https_proxy"),
        ("relay.example:1", {**PROXY, "grpc_proxy": "http://other:1"}, "grpc_proxy"),
        ("relay.example:1", {**PROXY, "grpc_proxy": ""}, ""),
        ("relay.example:1", {"http_proxy": "proxy.example:3128"}, "http_proxy"),
        ("relay.example:1", {**PROXY, "no_proxy": "a, EXAMPLE"}, ""),
        ("relay.example:1", {**PROXY, "no_proxy": "example", "no_grpc_proxy": "other"}, "https_proxy"),
        ("10.0.0.7:1", {**PROXY, "no_proxy": "10.0.0.0/8"}, ""),
        ("[fd00::7]:1", {**PROXY, "no_proxy": "10.0.0.0/8,fd00::/8"}, ""),
        ("127.0.0.1:1", PROXY, ""),
        ("[::1]:1", PROXY, ""),
        ("localhost:1", PROXY, ""),
    ],
)
def test_the_proxy_is_named_by_its_variable(address: str, environment: dict[str, str], named: str) -> None:
    """Selected as in gRPC; its password is not shown."""
    note = proxy_note(address, environment)
    assert bool(note) is bool(named)
    assert f" of {named}:" in note or not named
    assert "secret" not in note and (not named or "proxy.example:3128" in note or "other:1" in note)


def test_loopback_takes_no_proxy() -> None:
    """Set by a channel option: the environment belongs to the caller."""
    assert dict(proxy_option("127.0.0.1:1")) == {"grpc.enable_http_proxy": 0}
    assert proxy_option("10.0.0.1:1") == ()


async def test_all_three_reach_their_own_machine_past_a_proxy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    """The variables name a port without a listener."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    async with serving(build_relay(RelayConfig(listen="127.0.0.1:0")), Mute()) as (_, address):
        assert await asyncio.to_thread(relayctl.main, ["--relay", address, "devices"]) == 0
        async with asyncio.timeout(10), Publisher.connect(address) as publisher:
            assert publisher.is_connected
        async with AttachCall(Endpoint(address)) as call:
            await asyncio.wait_for(call.done_writing(), 5)
            end = await asyncio.wait_for(call.read(), 5)
            assert getattr(end, "code", "") == "OK"  # the relay has ended it normally
    assert capsys.readouterr().out == "no devices\n"


async def test_elsewhere_the_error_names_the_proxy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A proxy that closes connections, and an address that is not local."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = f"127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        refusing = asyncio.create_task(_hang_up(listening))
        address = "192.0.2.1:52000"
        assert await asyncio.to_thread(relayctl.main, ["--insecure", "--relay", address, "devices"]) == 3
        async with AttachCall(Endpoint(address)) as call:
            end = await asyncio.wait_for(call.read(), 10)
            assert f"proxy {proxy} of http_proxy" in getattr(end, "text", "")
        monkeypatch.setattr("avatar_relay.publisher.publisher.PUBLISHER_LEASE_US", 500_000)
        with pytest.raises(ConnectionLostError, match=f"proxy {proxy} of http_proxy"):
            async with asyncio.timeout(10), Publisher.connect(address):
                pass
        refusing.cancel()
    assert f"proxy {proxy} of http_proxy" in capsys.readouterr().err


async def _hang_up(listening: socket.socket) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, sock=listening.dup())
    with suppress(asyncio.CancelledError):
        await server.serve_forever()
