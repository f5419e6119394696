"""docs/extending.md: its excerpts match the examples, and its changes work when applied to a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import running

PAGE = PROJECT_ROOT / "docs" / "extending.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
EXCERPTS = [text for language, text in BLOCKS if language in ("toml", "python") and not text.startswith("# edge_client/")]
NEW_FILES = [text for language, text in BLOCKS if language == "python" and text.startswith("# edge_client/")]
CHANGES = [change for language, text in BLOCKS if language == "diff" for change in text.split("--- a/")[1:]]
UDP_PORT = "5004"
PUBLISH = """
import asyncio, sys
import grpc
from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import Publisher
from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc

async def main(address):
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        while not (await admin.CountDevices(admin_service_pb2.CountDevicesRequest())).attached:
            await asyncio.sleep(0.05)
    async with Publisher.connect(address) as publisher:
        avatar = publisher.avatar("lobby", audio_format=AudioFormat(Codec.PCM_MULAW, 8_000))
        finished = await avatar.finished(await avatar.yield_audio_data(b"\\x80" * 1_600, end=True))
        print(finished.reason, finished.position_us)

asyncio.run(main(sys.argv[1]))
"""


def sources_of_examples() -> str:
    """All files of the examples."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "examples").rglob("*") if path.suffix in (".py", ".toml"))


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=lambda text: text.splitlines()[-1][:40])
def test_excerpts_are_those_of_the_examples(excerpt: str) -> None:
    """Compared line by line."""
    assert excerpt in sources_of_examples()


def change(root: Path, text: str) -> str:
    """Apply one change to a copy of the project; return the file's path."""
    name, *lines = text.splitlines()
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    path = root / name
    content = path.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{name} does not hold this once:\n{before}"
    path.write_text(content.replace(before, after), encoding="utf-8")
    return name


@pytest.fixture
def heard() -> Iterator[socket.socket]:
    """Receives the datagrams of the sink."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.setblocking(False)
        yield heard


@pytest.fixture
def copy(heard: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all changes of the page applied, and the stubs compiled."""
    root = tmp_path_factory.mktemp("copy")
    for folder in ("proto", "edge_client", "relay_server"):
        shutil.copytree(PROJECT_ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*_pb2*"))
    (root / "scripts").mkdir()
    shutil.copy(PROJECT_ROOT / "scripts" / "compile_protos.py", root / "scripts")
    for text in CHANGES:
        change(root, text)
    for text in NEW_FILES:
        first, rest = text.split("\n", 1)
        path = root / first.removeprefix("# ")
        assert not path.exists()
        path.write_text(rest.replace(UDP_PORT, str(heard.getsockname()[1])), encoding="utf-8")
    subprocess.run([sys.executable, "scripts/compile_protos.py"], cwd=root, check=True, timeout=50)
    return root


def test_table_counts_the_files() -> None:
    """A codec, a sink and an RPC change three files each."""
    page = PAGE.read_text(encoding="utf-8")
    for title in ("codec", "sink", "RPC"):
        section = page.split(f"## An {title}" if title == "RPC" else f"## A {title}")[1].split("\n## ")[0]
        files = set(re.findall(r"^(?:--- a/|# )(\S+\.(?:py|proto))$", section, re.MULTILINE))
        assert len(files) == 3, files


def test_changes_of_the_page_can_be_made(copy: Path) -> None:
    """Each change finds its position, and the stubs compile."""
    assert "CODEC_PCM_MULAW" in (copy / "proto" / "avatar_relay" / "v1" / "media_pb2.pyi").read_text(encoding="utf-8")


@pytest.mark.slow
async def test_changes_of_the_page_work(copy: Path, heard: socket.socket, tmp_path: Path) -> None:
    """In the copy: a µ-law conversation through the relay, played by a device into datagrams; the new RPC counts the device."""
    paths = {"PYTHONPATH": os.pathsep.join((str(copy), str(copy / "proto")))}
    python = [sys.executable, "-P"]
    async with running("relay", [*python, "-m", "relay_server", "--listen", "127.0.0.1:0"], tmp_path / "relay.log", paths) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 30))[1]
        device = [*python, "-m", "edge_client", "--relay", address, "--device-id", "lobby", "--renderer", "none", "--audio-sink", "udp"]
        async with (
            running("device", device, tmp_path / "device.log", paths),
            running("publish", [*python, "-c", PUBLISH, address], tmp_path / "publish.log", paths) as publish,
        ):
            await publish.wait(40)
            assert publish.said() == "completed 200000\n"
    assert loudest(heard) > 30_000  # 0x80 is the loudest sample


def loudest(heard: socket.socket) -> int:
    """Return the magnitude of the loudest sample in the received datagrams."""
    found = 0
    with suppress(BlockingIOError):
        while True:
            found = max(found, *map(abs, memoryview(heard.recv(65_536)).cast("h")))
    return found
