"""A relay whose name is resolved only by nsswitch.conf, like `.local` names on a Raspberry Pi: for backend, device and operator."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.programs import attached, python, running

SERVICE = Path(__file__).parent / "lab" / "nss_lab.c"
NAME = "relay-on-the-shelf.local"
BACKEND = """
import asyncio, sys
from avatar_relay.publisher import Publisher

async def main():
    async with Publisher.connect(sys.argv[1]) as publisher:
        print("connected", publisher.is_connected)

asyncio.run(main())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def switch(tmp_path: Path) -> list[str]:
    """The prefix that runs a command with its own name service switch."""
    if (compiler := shutil.which("gcc")) is None:
        pytest.skip("no C compiler for the service: apt-get install gcc")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here")
    library, file = tmp_path / "libnss_lab.so.2", tmp_path / "nsswitch.conf"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(SERVICE)], check=True)
    file.write_text("hosts: files lab\n")
    command = f'mount --bind {file} /etc/nsswitch.conf && exec "$@"'
    return ["unshare", "--mount", "env", f"LD_LIBRARY_PATH={tmp_path}", "sh", "-c", command, "sh"]


def run(command: Sequence[str]) -> str:
    """Return its output, including all errors."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=50, check=False)
    return done.stdout


async def test_a_name_of_nsswitch_reaches_the_relay(tmp_path: Path, switch: list[str]) -> None:
    """By the library, which does not change the environment, and by both programs."""
    lookup = [sys.executable, "-c", f"import socket; print(socket.gethostbyname('{NAME}'))"]
    assert run([*switch, *lookup]) == "127.0.0.1\n"
    assert "127.0.0.1" not in run(lookup), "without the switch nobody knows the name"
    async with running("relay-server", [*python("relay_server"), "--listen", "127.0.0.1:0"], tmp_path / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 30))[1]
        place = f"{NAME}:{address.rpartition(':')[2]}"
        assert run([*switch, sys.executable, "-c", BACKEND, place]) == "connected True\n"
        flags = ["--headless", "--renderer", "none", "--audio-sink", "virtual", "--device-id", "lobby", "--relay", place, "--insecure"]
        async with running("edge-client", [*switch, *python("edge_client"), *flags], tmp_path / "edge.log", {}):
            await attached(address, "lobby")
            operator = [sys.executable, "-m", "relay_server.relayctl.cli", "--insecure", "--relay", place, "devices"]
            assert "lobby" in run([*switch, *operator])
