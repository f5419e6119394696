"""The proxies of docs/proxies.md, with its configurations: idle streams, a reload during speech, a limit of the body size."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import ConversationFailedError, Publisher
from tests.doc_blocks import read_blocks
from tests.lab.programs import Program, ProgramError, attached, python, running

PAGE = "docs/proxies.md"
QUIET_S = 60.0
PCM = AudioFormat(Codec.PCM_S16LE, 48_000)
BYTES_PER_S = 96_000
COMMANDS = {
    "nginx": ["nginx", "-c"],
    "haproxy": ["haproxy", "-W", "-f"],
    "caddyfile": ["caddy", "run", "--adapter", "caddyfile", "--config"],
}
RELOADS = {"nginx": signal.SIGHUP, "haproxy": signal.SIGUSR2}
"""Caddy is reloaded through its admin interface, which is disabled here."""

NO_LIMIT = "client_max_body_size 0;"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def configuration(proxy: str, folder: Path, port: int, relay: str) -> str:
    """Return a page's block with our ports, and with what the program needs to run as any user in any folder."""
    (block,) = [block for block in read_blocks(PAGE) if block.language == proxy]
    text = block.text.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:52000", relay)
    if proxy != "nginx":
        return text + "\n"
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    head = f"daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
    return f"{head}http {{\naccess_log off;\n{paths}{text}\n}}\n"


@asynccontextmanager
async def through(
    proxy: str, folder: Path, port: int, *, changed: Mapping[str, str] = MappingProxyType({}), attach: bool = True
) -> AsyncIterator[tuple[str, Program, Program]]:
    """A relay, the proxy, and a device that attaches through it. Yields the proxy's address, the proxy and the device.

    `changed`: replacements in the text of the configuration.
    """
    command = COMMANDS[proxy]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0"]
    async with running("relay-server", relay_command, folder / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 30))[1]
        file = folder / "proxy.conf"
        text = configuration(proxy, folder, port, address)
        for old, new in changed.items():
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        async with running(proxy, [*command, str(file)], folder / "proxy.log", home) as front:
            flags = ["--headless", "--renderer", "none", "--audio-sink", "virtual", "--device-id", "lobby", "--relay", f"127.0.0.1:{port}"]
            async with running("edge-client", [*python("edge_client"), *flags], folder / "edge.log", {}) as device:
                if attach:
                    await attached(address, "lobby")
                yield f"127.0.0.1:{port}", front, device


async def speak(publisher: Publisher, seconds: float) -> None:
    """Publish speech, and check that all of it was played."""
    avatar = publisher.avatar("lobby", audio_format=PCM)
    conversation_id = await avatar.yield_audio_data(bytes(BYTES_PER_S))
    for _ in range(round(seconds) - 1):
        await avatar.yield_audio_data(bytes(BYTES_PER_S))
    await avatar.yield_audio_data(b"", end=True)
    finished = await asyncio.wait_for(avatar.finished(conversation_id), seconds + 60)
    assert finished.reason == "completed"
    assert [one.position_us for one in finished.by_device.values()] == [round(seconds) * 1_000_000]


@pytest.mark.parametrize("proxy", COMMANDS)
async def test_a_quiet_stream_lives_and_a_reload_loses_nothing(proxy: str, tmp_path: Path, unused_tcp_port: int) -> None:
    """With timeouts of 5 s, no stream ends in a minute without speech. A reload during speech loses no sound."""
    async with through(proxy, tmp_path, unused_tcp_port) as (address, front, device), Publisher.connect(address) as publisher:
        await asyncio.sleep(QUIET_S)
        assert device.log.read_text().count("attached to") == 1
        speaking = asyncio.create_task(speak(publisher, 6))
        await asyncio.sleep(2)
        if proxy in RELOADS:
            os.kill(front.pid, RELOADS[proxy])
        await speaking


async def test_a_limit_of_the_body_costs_no_sound(tmp_path: Path, unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    """nginx without `client_max_body_size 0` cuts a publisher at 1 MiB: it reconnects, and everything plays."""
    changed = {NO_LIMIT: ""}
    async with through("nginx", tmp_path, unused_tcp_port, changed=changed) as (address, _, _), Publisher.connect(address) as publisher:
        await speak(publisher, 16)
    cuts = sum("stream to the relay lost" in record.getMessage() for record in caplog.records)
    assert cuts >= 1
    assert "too large chunked body" in (tmp_path / "proxy.log").read_text()


@pytest.mark.timeout(330)
async def test_a_limit_that_lets_nothing_pass_ends_both(tmp_path: Path, unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    """1 KiB: publisher and device stop at the third stream, each with one text that names the limit. Heartbeats alone reach it."""
    changed = {NO_LIMIT: "client_max_body_size 1k;"}
    limit = "a proxy limits the size of requests: 3 streams in a row"
    async with through("nginx", tmp_path, unused_tcp_port, changed=changed) as (address, _, device):
        async with Publisher.connect(address) as publisher:
            with pytest.raises(ConversationFailedError, match=limit):
                await speak(publisher, 3)
        lost = sum("stream to the relay lost" in record.getMessage() for record in caplog.records)
        assert 2 <= lost <= 3, "the third may end while it is probed"
        with pytest.raises(ProgramError, match="status 1"):
            await device.wait(270)  # while idle it sends 1 KiB in a minute
        assert device.said().count("attached to") == 3
        assert device.said().count(limit) == 1


async def test_a_limit_below_hello_ends_the_device(tmp_path: Path, unused_tcp_port: int) -> None:
    """The proxy then answers with HTTP status 413."""
    changed = {NO_LIMIT: "client_max_body_size 64;"}
    async with through("nginx", tmp_path, unused_tcp_port, changed=changed, attach=False) as (_, _, device):
        with pytest.raises(ProgramError, match="status 1"):
            await device.wait(20)
        assert device.said().count("a proxy limits the size of requests") == 1


async def test_a_limit_of_the_time_ends_nobody(tmp_path: Path, unused_tcp_port: int) -> None:
    """A proxy that ends idle streams after some seconds ends them at the same byte total: this does not count as a size limit."""
    changed = {"grpc_read_timeout 5s;": "grpc_read_timeout 1s;", "grpc_send_timeout 5s;": "grpc_send_timeout 1s;"}
    async with through("nginx", tmp_path, unused_tcp_port, changed=changed) as (_, _, device):
        await asyncio.sleep(QUIET_S)
        assert device.said().count("attached to") > 3
        assert device.running


@pytest.mark.parametrize("answer", ["404", "401", "403", "502"])
async def test_a_proxys_own_refusal_is_not_final(answer: str, tmp_path: Path, unused_tcp_port: int) -> None:
    """It is retried: at long intervals if gRPC reports that there is no route, else soon at first. The answer may be a page."""
    changed = {"grpc_pass grpc": f"return {answer}; grpc_pass grpc"}
    async with through("nginx", tmp_path, unused_tcp_port, changed=changed, attach=False) as (_, _, device):
        wait = "0" if answer == "502" else "30"
        await device.wait_for(rf"status: {answer}.*next try in {wait}\.\d s|END_STREAM.*next try in 0\.\d s", 20)
        await asyncio.sleep(3)
        assert device.running
