"""Every fenced block of every page is run, loaded or compared, or it is listed here with the reason why it is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_client.config import load_config
from relay_server.cli import build_parser
from relay_server.cli import load_config as load_relay_config
from tests.doc_blocks import SHELL, Block, commands, is_output, matches, pages, parse, read_blocks
from tests.lab.data import PROJECT_ROOT
from tests.lab.recordings import motion_messages, speech_like
from tests.page_session import PageError, read_page, session


@dataclass(frozen=True, slots=True)
class NotRun:
    """Blocks that no test runs: a page, how their first line begins, and why."""

    page: str
    begins: str
    reason: str


INSTALLS = "installs packages"
ROOT = "changes the system, as root"
MINUTES = "takes minutes"
SUITE = "sets up the clone and runs the test suite"
DIAGRAM = "a diagram"

NOT_RUN = (
    NotRun("README.md", "scripts/demo", "tests/test_demo.py runs the demo; the other line is the test suite"),
    NotRun("README.md", "python3 -m venv", INSTALLS),
    NotRun("CONTRIBUTING.md", "scripts/test", SUITE),
    NotRun("docs/architecture.md", " backend", DIAGRAM),
    NotRun("docs/architecture.md", "cli →", DIAGRAM),
    NotRun("docs/audio2face.md", " text ──►", DIAGRAM),
    NotRun("docs/avatarkit.md", "~/venvs/avatar-relay/bin/pip install", INSTALLS),
    NotRun("docs/demo.md", "scripts/demo", "tests/test_demo.py runs it"),
    NotRun("docs/device.md", "sudo ", ROOT),
    NotRun("docs/lip-sync.md", "scripts/ground_truth", MINUTES),
    NotRun("docs/operations.md", "python3 -m venv", INSTALLS),
    NotRun("docs/playout.md", "payloads ─►", DIAGRAM),
    NotRun("docs/playout.md", "scripts/simulate", MINUTES),
    NotRun("docs/reliability.md", "scripts/chaos", MINUTES),
)

OWN_TESTS = {
    "README.md": "tests/test_doc_blocks.py",
    "docs/face.md": "tests/test_doc_blocks.py",
    "docs/grpcurl.md": "tests/test_grpcurl.py",
    "docs/security.md": "tests/test_security_page.py",
}
"""Pages whose commands need more than a fresh folder, or whose result is looked at further, and the test that runs them."""

DEVICE_SETTINGS = ("docs/device.md", "docs/face.md")
"""Pages whose TOML is for a device; the rest is for a relay."""

READERS_OWN = {"/srv/speech": "speech", "/etc/avatar-relay/nvidia-api-key": "nvidia-api-key"}
"""Folders and files that the settings of a page name, and that a reader has: what stands for them here."""


def unlisted(page: str) -> list[Block]:
    """The blocks of a page that are not in `NOT_RUN`."""
    return [block for block in read_blocks(page) if not any(covers(entry, block) for entry in NOT_RUN)]


def covers(entry: NotRun, block: Block) -> bool:
    """Whether the list's entry is about a block."""
    return entry.page == block.page and block.first_line.startswith(entry.begins)


BLOCKS = {page: unlisted(page) for page in pages()}
EXECUTED = [page for page, found in BLOCKS.items() if page not in OWN_TESTS and any(block.language in (*SHELL, "python") for block in found)]
SETTINGS = [block for found in BLOCKS.values() for block in found if block.language == "toml"]


def test_every_block_is_run_or_listed() -> None:
    """No block in a language that nothing here runs, loads or compares."""
    known = ("sh", "console", "python", "toml", "ini")
    left = []
    for found in BLOCKS.values():
        for before, block in zip([None, *found], found, strict=False):
            if block.language not in known and not is_output(block, before):
                left.append(f"{block.place}: {block.language or 'no language'}: {block.first_line}")
    assert left == []


def test_the_list_is_true() -> None:
    """What is listed is there, and the test of each page that has its own names it."""
    found = [block for page in pages() for block in read_blocks(page)]
    assert [entry for entry in NOT_RUN if not any(covers(entry, block) for block in found)] == []
    for page, test in OWN_TESTS.items():
        assert page in BLOCKS
        assert f'"{page}"' in (PROJECT_ROOT / test).read_text(encoding="utf-8").partition("def ")[2], f"{test} does not run {page}"


@pytest.mark.parametrize("page", EXECUTED)
def test_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    """All of its commands, in order."""
    with session(tmp_path) as reader:
        reader.run(BLOCKS[page])
