"""The proxies of docs/proxies.md, with its configurations: quiet streams, a reload in the middle of speech, a limit of the body."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import Publisher
from tests.doc_blocks import read_blocks
from tests.lab.programs import Program, attached, python, running

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
"""Caddy is reloaded by its admin interface, which is off here."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def configuration(proxy: str, folder: Path, port: int, relay: str) -> str:
    """A page's block with ports of ours, and what the program needs to run as anybody from any folder."""
    (block,) = [block for block in read_blocks(PAGE) if block.language == proxy]
    text = block.text.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:52000", relay)
    if proxy != "nginx":
        return text + "\n"
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    head = f"daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
    return f"{head}http {{\naccess_log off;\n{paths}{text}\n}}\n"


@asynccontextmanager
async def through(proxy: str, folder: Path, port: int, *, without: str = "") -> AsyncIterator[tuple[str, Program, Program]]:
    """A relay, the proxy, and a device that is attached through it: the proxy's address, the proxy, the device."""
    command = COMMANDS[proxy]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0"]
    async with running("relay-server", relay_command, folder / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 30))[1]
        file = folder / "proxy.conf"
        file.write_text(configuration(proxy, folder, port, address).replace(without, ""))
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        async with running(proxy, [*command, str(file)], folder / "proxy.log", home) as front:
            flags = ["--headless", "--renderer", "none", "--audio-sink", "virtual", "--device-id", "lobby", "--relay", f"127.0.0.1:{port}"]
            async with running("edge-client", [*python("edge_client"), *flags], folder / "edge.log", {}) as device:
                await attached(address, "lobby")
                yield f"127.0.0.1:{port}", front, device


async def speak(publisher: Publisher, seconds: float) -> None:
    """Speak, and see that all of it was heard."""
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
    """Time-outs of 5 s: no stream ends in a minute without speech. A reload while the device speaks costs no sound."""
    async with through(proxy, tmp_path, unused_tcp_port) as (address, front, device), Publisher.connect(address) as publisher:
        await asyncio.sleep(QUIET_S)
        assert device.log.read_text().count("attached to") == 1
        speaking = asyncio.create_task(speak(publisher, 6))
        await asyncio.sleep(2)
        if proxy in RELOADS:
            os.kill(front.pid, RELOADS[proxy])
        await speaking


async def test_a_limit_of_the_body_costs_no_sound(tmp_path: Path, unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    """nginx without `client_max_body_size 0` cuts a publisher at 1 MiB: it comes back, and all is heard."""
    without = "client_max_body_size 0;"
    async with through("nginx", tmp_path, unused_tcp_port, without=without) as (address, _, _), Publisher.connect(address) as publisher:
        await speak(publisher, 16)
    cuts = sum("stream to the relay lost" in record.getMessage() for record in caplog.records)
    assert cuts >= 1
    assert "too large chunked body" in (tmp_path / "proxy.log").read_text()
