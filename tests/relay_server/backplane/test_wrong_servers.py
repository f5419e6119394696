"""A relay that is told to use a NATS server which is none."""

from __future__ import annotations

import asyncio

import pytest

from avatar_relay.errors import ConfigError
from relay_server.backplane import nats_core
from relay_server.backplane.backplane import BackplaneError
from relay_server.backplane.nats_core import NatsBackplane


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"INFO {bad\r\n",
        b"INFO [1]\r\n",
        b"INFO " + bytes(1 << 20),
        b"INFO \xff\r\n",
        b"-ERR 'Unknown Protocol Operation'\r\n",
        b"",
    ],
    ids=["HTTP", "SSH", "no JSON", "a list", "1 MiB", "no UTF-8", "an error", "silent"],
)
async def test_a_program_that_is_no_nats_server_is_refused(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one line that names the setting and the address."""
    monkeypatch.setattr(nats_core, "CONNECT_S", 0.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        backplane = NatsBackplane([f"nats://relay:secret@{address}"], "relay", None)
        with pytest.raises(ConfigError, match=f"cluster_nats: no NATS server answers at {address}: .") as refused:
            async with asyncio.timeout(10):
                await backplane.start(lambda: None, lambda: None)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_nonsense_after_the_welcome_is_a_failure_of_the_backplane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a limit that is no number, which `nats-py` compares with the size of each message."""
    monkeypatch.setattr(nats_core, "CONNECT_S", 0.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.0","max_payload":"1"}\r\nPONG\r\n')
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        backplane = NatsBackplane(["nats://{}:{}".format(*server.sockets[0].getsockname())], "relay", None)
        await backplane.start(lambda: None, lambda: None)
        with pytest.raises(BackplaneError):
            await backplane.publish("subject", b"data")
        await backplane.stop()
