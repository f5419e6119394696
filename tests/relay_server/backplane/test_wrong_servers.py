"""A relay that is told to use a NATS server which is none."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from nats.aio.client import Client

from avatar_relay.errors import ConfigError
from relay_server.backplane import nats_core
from relay_server.backplane.backplane import BackplaneError
from relay_server.backplane.nats_core import NatsBackplane
from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import python


async def serve_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a NATS server whose limit is no number; `nats-py` compares it with the size of each message."""
    writer.write(b'INFO {"server_id":"x","version":"2.9.0","max_payload":"1"}\r\nPONG\r\n')
    await reader.read()
    writer.close()


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
    """Not an error of another kind."""
    monkeypatch.setattr(nats_core, "CONNECT_S", 0.0)

    async with await asyncio.start_server(serve_nonsense, "127.0.0.1", 0) as server:
        backplane = NatsBackplane(["nats://{}:{}".format(*server.sockets[0].getsockname())], "relay", None)
        await backplane.start(lambda: None, lambda: None)
        with pytest.raises(BackplaneError):
            await backplane.publish("subject", b"data")
        await backplane.stop()


async def test_nothing_reconnects_after_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although `asyncio.wait_for` of Python 3.11 may lose a cancellation: the program would not end."""
    select = Client._select_next_server

    async def lose_cancellation(client: Client) -> None:
        try:
            await select(client)
        except asyncio.CancelledError:
            raise OSError("lost") from None

    def reconnecting() -> list[asyncio.Task[object]]:
        return [task for task in asyncio.all_tasks() if "_attempt_reconnect" in repr(task.get_coro())]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576}\r\nPONG\r\n')
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"PING")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    backplane = NatsBackplane(["nats://{}:{}".format(*server.sockets[0].getsockname())], "relay", None)
    lost = asyncio.Event()
    await backplane.start(lost.set, lost.clear)
    monkeypatch.setattr(Client, "_select_next_server", lose_cancellation)
    server.close()
    async with asyncio.timeout(10):
        await lost.wait()
        while not reconnecting():  # noqa: ASYNC110
            await asyncio.sleep(0)
        await backplane.stop()
        while reconnecting():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_relay_that_loses_its_server_while_it_joins_says_so_in_one_line(tmp_path: Path) -> None:
    """With status 2, like one that never had a server."""

    (tmp_path / "secret").write_bytes(bytes(32))
    async with await asyncio.start_server(serve_nonsense, "127.0.0.1", 0) as server:
        flags = ["--listen", "127.0.0.1:0", "--cluster-nats", "nats://{}:{}".format(*server.sockets[0].getsockname())]
        command = [*python("relay_server"), *flags, "--cluster-secret-file", str(tmp_path / "secret")]
        pipe = asyncio.subprocess.PIPE
        relay = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, cwd=PROJECT_ROOT)
        async with asyncio.timeout(30):
            _, errors = await relay.communicate()
    assert (relay.returncode, errors.count(b"\n")) == (2, 1), errors.decode()
    assert b"cluster_nats" in errors
