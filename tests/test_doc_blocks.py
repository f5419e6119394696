"""Every fenced block of every page is run, loaded or compared, or is listed here with the reason why not."""

from __future__ import annotations

import asyncio
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import pytest

from avatar_relay.media import Pacing
from avatar_relay.publisher import Publisher
from edge_client.config import load_config
from relay_server.cli import build_parser
from relay_server.cli import load_config as load_relay_config
from relay_server.sources.source import AudioChunk, AudioSpeech, Performance, Speech
from tests.doc_blocks import Block, is_output, pages, parse, read_blocks
from tests.edge_client.motion.test_flame_map_fit import write_conversation
from tests.lab.data import PROJECT_ROOT
from tests.lab.recordings import motion_messages, speech_like
from tests.page_session import PATIENCE_S, PageSession, session


@dataclass(frozen=True, slots=True)
class NotRun:
    """Blocks that no test runs: a page, the beginning of their first line, and the reason."""

    page: str
    begins: str
    reason: str


INSTALLS = "installs packages"
ROOT = "changes the system, as root"
MINUTES = "takes minutes"
SUITE = "sets up the clone and runs the test suite"
LOGGED = "a line of the log"
DIAGRAM = "a diagram"
PROXIES = "tests/test_proxies.py runs it"
COMPARED = "tests/test_extending.py compares it with the example"
CHANGED = "tests/test_extending.py makes the change to a copy of the project, and runs that"

NOT_RUN = (
    NotRun("README.md", "scripts/demo", "tests/test_demo.py runs the demo; the other line is the test suite"),
    NotRun("README.md", "python3 -m venv", INSTALLS),
    NotRun("CONTRIBUTING.md", "scripts/test", SUITE),
    NotRun("docs/architecture.md", "backend ", DIAGRAM),
    NotRun("docs/architecture.md", "cli →", DIAGRAM),
    NotRun("docs/audio2face.md", "text ──►", DIAGRAM),
    NotRun("docs/avatarkit.md", "~/venvs/avatar-relay/bin/pip install", INSTALLS),
    NotRun("docs/cluster.md", 'listen: "192.0.2.10:4222"', "tests/test_cluster_page.py runs it"),
    NotRun("docs/demo.md", "scripts/demo", "tests/test_demo.py runs it"),
    NotRun("docs/device.md", "sudo ", ROOT),
    NotRun("docs/device.md", "git pull", ROOT),
    NotRun("docs/face.md", "SUBSYSTEM", ROOT),
    NotRun("docs/extending.md", "[project.entry-points", COMPARED),
    NotRun("docs/extending.md", "@dataclass", COMPARED),
    NotRun("docs/extending.md", "BEEPER", COMPARED),
    NotRun("docs/extending.md", "def draw", COMPARED),
    NotRun("docs/extending.md", "--- a/", CHANGED),
    NotRun("docs/extending.md", "# edge_client/", CHANGED),
    NotRun("docs/notebook/lip-sync.md", "scripts/ground_truth", MINUTES),
    NotRun("docs/lip-sync.md", "sudo ", ROOT),
    NotRun("docs/operations.md", "python3 -m venv", INSTALLS),
    NotRun("docs/operations.md", "journalctl", "needs systemd's journal; tests/avatar_relay/test_log_output.py reads entries"),
    NotRun("docs/pairing.md", "2 relays announce", LOGGED),
    NotRun("docs/pairing.md", "not paired:", LOGGED),
    NotRun("docs/pairing.md", "relayctl settings", "tests/relay_server/service/test_device_settings.py sets them"),
    NotRun("docs/pairing.md", "rotation = 90", "tests/relay_server/service/test_device_settings.py sets them"),
    NotRun("docs/pairing.md", "paired: device", "tests/relay_server/service/test_pairing.py pairs a device"),
    NotRun("docs/pairing.md", "relayctl pair", "tests/relay_server/service/test_pairing.py pairs a device"),
    NotRun("docs/proxies.md", "server {", PROXIES),
    NotRun("docs/proxies.md", "defaults", PROXIES),
    NotRun("docs/proxies.md", "{", PROXIES),
    NotRun("docs/proxies.md", "readinessProbe:", "needs a cluster; tests/relay_server/relayctl/test_cli.py runs the command"),
    NotRun("docs/notebook/playout.md", "payloads ─►", DIAGRAM),
    NotRun("docs/notebook/playout.md", "scripts/simulate", MINUTES),
    NotRun("docs/notebook/reliability.md", "scripts/chaos", MINUTES),
    NotRun("docs/your-own-head.md", "edge-client import-head", "tests/edge_client/head_import runs it on a model that it makes"),
    NotRun("examples/README.md", "relay-server", "tests/test_examples.py starts both"),
)

OWN_TESTS = {
    "README.md": "tests/test_doc_blocks.py",
    "docs/avatarkit.md": "tests/test_doc_blocks.py",
    "docs/face.md": "tests/test_doc_blocks.py",
    "docs/grpcurl.md": "tests/test_grpcurl.py",
    "docs/security.md": "tests/test_security_page.py",
}
"""Pages whose commands need more than an empty folder, or whose result is checked further, and the test that runs them."""

IN_CLONE = ("docs/protocol.md",)
"""Pages whose commands run in the folder of a clone, as they state."""

DEVICE_SETTINGS = ("docs/device.md", "docs/face.md")
"""Pages with TOML for a device; other TOML is for a relay."""

READERS_OWN = {
    "cluster.secret": "cluster.secret",
    "/srv/speech": "speech",
    "/etc/avatar-relay/nvidia-api-key": "nvidia-api-key",
    "/etc/nats/ca.crt": "ca.crt",
}
"""Folders and files of a reader that the settings of a page name, and their replacements here."""


def unlisted(page: str) -> list[Block]:
    """Return the blocks of a page that are not in `NOT_RUN`."""
    return [block for block in read_blocks(page) if not any(covers(entry, block) for entry in NOT_RUN)]


def covers(entry: NotRun, block: Block) -> bool:
    """Whether the list's entry matches a block."""
    return entry.page == block.page and block.first_line.startswith(entry.begins)


BLOCKS = {page: unlisted(page) for page in pages()}
EXECUTED = [page for page, found in BLOCKS.items() if page not in OWN_TESTS and any(block.runs for block in found)]
SETTINGS = [block for found in BLOCKS.values() for block in found if block.language == "toml"]


class PlainSource:
    """A source without motion."""

    name = "plain"

    async def perform(self, speech: Speech) -> Performance:
        """Yield the backend's sound unchanged."""
        assert isinstance(speech, AudioSpeech)
        return Performance(speech.audio_format, None, Pacing.BURST, (AudioChunk(data) async for data in speech.chunks))


async def halves(sound: bytes) -> AsyncIterator[bytes]:
    """Yield sound in pieces, as a backend makes it."""
    middle = len(sound) // 4 * 2
    yield sound[:middle]
    yield sound[middle:]


def defined(reader: PageSession, name: str) -> Callable[..., Coroutine[object, object, None]]:
    """Return a coroutine function defined by the page."""
    function = reader.names[name]
    assert inspect.iscoroutinefunction(function)
    return function


def test_every_block_is_run_or_listed() -> None:
    """No block has a language that is not run, loaded or compared here."""
    known = ("sh", "console", "python", "toml")
    left = []
    for found in BLOCKS.values():
        for before, block in zip([None, *found], found, strict=False):
            if block.language not in known and not is_output(block, before):
                left.append(f"{block.place}: {block.language or 'no language'}: {block.first_line}")
    assert left == []


def test_the_list_is_true() -> None:
    """The listed blocks exist, and each page with its own test is named by that test."""
    found = [block for page in pages() for block in read_blocks(page)]
    assert [entry for entry in NOT_RUN if not any(covers(entry, block) for block in found)] == []
    for page, test in OWN_TESTS.items():
        assert any(block.runs for block in BLOCKS[page])
        assert f'"{page}"' in (PROJECT_ROOT / test).read_text(encoding="utf-8").replace(f'"{page}": "', ""), f"{test} does not run {page}"


@pytest.mark.parametrize("page", EXECUTED)
def test_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    """All of its commands, in order."""
    with session(tmp_path, in_clone=page in IN_CLONE) as reader:
        reader.run(BLOCKS[page])


def commands_that_take_minutes() -> dict[str, list[str]]:
    """Commands listed as slow: each program with the words of all lines that call it."""
    found: dict[str, list[str]] = {}
    for entry in (entry for entry in NOT_RUN if entry.reason == MINUTES):
        for line in (line for block in read_blocks(entry.page) if covers(entry, block) for line in block.text.splitlines()):
            words = [word for word in shlex.split(line, comments=True) if not re.match(r"\w+=", word)]
            program = 3 if words[1:2] == ["-m"] else 1
            found.setdefault(shlex.join(words[:program]), []).extend(words[program:])
    return found


@pytest.mark.slow  # a second each
@pytest.mark.parametrize(("program", "words"), commands_that_take_minutes().items(), ids=commands_that_take_minutes())
def test_commands_that_take_minutes_are_there(program: str, words: list[str]) -> None:
    """They accept the options and names used on the pages."""
    command = [sys.executable if word.endswith("python") else word for word in shlex.split(program)]
    done = subprocess.run([*command, "--help"], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    named = [word for word in words if re.fullmatch(r"--[a-z-]+|[a-z-]+", word)]
    assert [word for word in named if word not in done.stdout] == []
    assert [word for word in words if word.endswith(".py") and not (PROJECT_ROOT / word).is_file()] == []


def test_readme_has_a_device_speak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its commands, and by its Python, which waits until the device has finished."""
    with session(tmp_path) as reader:
        reader.run(BLOCKS["README.md"])
        asyncio.run(defined(reader, "speak")([speech_like(1.0, 16_000).tobytes()], list(motion_messages((25,)))))
    assert "reason='completed'" in capsys.readouterr().out


def test_avatarkit_page_has_a_device_speak(tmp_path: Path) -> None:
    """Its settings start a relay; its Python passes a source's result for a backend's sound to the device."""
    with session(tmp_path) as reader:
        reader.run(BLOCKS["docs/avatarkit.md"])
        reader.run(parse("a device", "```sh\nedge-client --device-id lobby\n```"))

        async def speak() -> None:
            async with Publisher.connect(reader.address) as publisher:
                await defined(reader, "speak")(publisher, PlainSource(), halves(speech_like(0.5, 16_000).tobytes()))

        asyncio.run(speak())


def test_face_page_fits_a_map(tmp_path: Path) -> None:
    """From two recordings; the device accepts the map."""
    with session(tmp_path, in_clone=True) as reader:
        for name in ("mine-1.json", "mine-2.json"):
            write_conversation(reader.home / name, telling=True)
        reader.run(BLOCKS["docs/face.md"])
        assert (reader.home / "mine.md").is_file()


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.place)
def test_settings_are_taken(block: Block, tmp_path: Path) -> None:
    """By the program they are for. The files they name exist, as for a reader."""
    text = block.text
    for name, own in READERS_OWN.items():
        text = text.replace(name, str(tmp_path / own))
    (tmp_path / "speech").mkdir()
    (tmp_path / "cluster.secret").write_bytes(bytes(32))
    (tmp_path / "ca.crt").touch()
    (tmp_path / "nvidia-api-key").write_text("a-key\n", encoding="utf-8")
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    said = tomllib.loads(text)
    if block.page in DEVICE_SETTINGS:
        device = load_config({}, {}, file=path)
        assert {name: getattr(device, name) for name in ("device_id", "update_index") if name in said} == {
            name: value for name, value in said.items() if name in ("device_id", "update_index")
        }
    else:
        relay = load_relay_config(build_parser().parse_args(["--config", str(path)]), {})
        assert dict(relay.groups) == {name: tuple(members) for name, members in said.get("groups", {}).items()}
        assert dict(relay.devices) == {name: device["source"] for name, device in said.get("devices", {}).items()}
