"""What the documents promise: their example runs, their links and settings exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edge_client.config import load_config
from relay_server.cli import build_parser
from relay_server.cli import load_config as load_relay_config
from scripts.settings_page import PAGE, page
from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import attached, python, running
from tests.lab.recordings import motion_messages, speech_like

PAGES = sorted([PROJECT_ROOT / "README.md", PROJECT_ROOT / "CHANGELOG.md", *(PROJECT_ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


async def test_example_for_backends_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's Python, as it stands but for the address, has a device speak and waits until it is done."""
    (code,) = blocks(PROJECT_ROOT / "README.md", "python")
    async with running("relay", [*python("relay_server"), "--listen", "127.0.0.1:0"], tmp_path / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 30))[1]
        device = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--renderer", "none", "--audio-sink", "virtual"]
        async with running("device", device, tmp_path / "device.log", {}):
            await attached(address, "lobby")
            assert "127.0.0.1:52000" in code
            names: dict[str, object] = {}
            exec(code.replace("127.0.0.1:52000", address), names)
            speak = names["speak"]
            assert callable(speak)
            await speak([speech_like(1.0, 16_000).tobytes()], list(motion_messages((25,))))
    assert "reason='completed'" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the project names a file that is there."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_settings_of_the_device_page_are_taken(tmp_path: Path) -> None:
    """The example file for a device is valid."""
    (text,) = blocks(PROJECT_ROOT / "docs" / "device.md", "toml")
    path = tmp_path / "edge.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config({}, {}, file=path)
    assert config.device_id == "lobby"
    assert config.fullscreen


def test_settings_of_the_operations_page_are_taken(tmp_path: Path) -> None:
    """The example file for a relay is valid."""
    (text,) = blocks(PROJECT_ROOT / "docs" / "operations.md", "toml")
    path = tmp_path / "relay.toml"
    path.write_text(text.replace("/srv/speech", str(tmp_path)), encoding="utf-8")
    config = load_relay_config(build_parser().parse_args(["--config", str(path)]), {})
    assert config.groups == {"lobby": ("lobby-left", "lobby-right")}


def test_device_page_installs_what_the_scripts_install() -> None:
    """Its list of system packages is the scripts' own, without what only the relay's voice needs."""
    (line,) = re.findall(r"RUN_PACKAGES=\(\n(.*?)\n\)", (PROJECT_ROOT / "scripts" / "lib.sh").read_text(encoding="utf-8"), re.DOTALL)
    page = (PROJECT_ROOT / "docs" / "device.md").read_text(encoding="utf-8")
    assert [name for name in line.split() if "espeak" not in name and name not in page] == []


def test_settings_page_is_what_the_declarations_say() -> None:
    """`scripts/settings_page` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_changelog_names_this_version() -> None:
    """The version that pyproject.toml tells has its section."""
    version = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
