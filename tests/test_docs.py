"""The documents: links resolve, lists are complete. For their code, see `test_doc_blocks.py`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from avatar_relay.installer.packages import PACKAGES
from scripts.settings_page import PAGE, page
from tests.lab.data import PROJECT_ROOT

PAGES = sorted([PROJECT_ROOT / "README.md", PROJECT_ROOT / "CHANGELOG.md", *(PROJECT_ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the project names an existing file."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_device_page_installs_what_the_scripts_install() -> None:
    """Its list of system packages is that of the scripts, without those needed only by the relay's voice."""
    page = (PROJECT_ROOT / "docs" / "device.md").read_text(encoding="utf-8")
    assert [name for name in PACKAGES.read_text(encoding="ascii").split() if "espeak" not in name and name not in page] == []


def test_settings_page_is_what_the_declarations_say() -> None:
    """`scripts/settings_page` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_changelog_names_this_version() -> None:
    """The version in pyproject.toml has a section."""
    version = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_licences_page_names_every_dependency() -> None:
    """Each package that pyproject.toml requires at run time."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked_for = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    page = (PROJECT_ROOT / "docs" / "licences.md").read_text(encoding="utf-8").lower()
    names = [re.split(r"[\[<>=~ ]", one)[0].lower() for one in asked_for]
    assert [name for name in names if not re.search(rf"(^|[^\w-]){re.escape(name)}($|[^\w-])", page, re.MULTILINE)] == []
