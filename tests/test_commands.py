"""The commands in `scripts`: their imports, their list in `scripts/README.md`, and their `--help`."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT
from tests.wall_checks import Module, is_in, parse, read_sources

SCRIPTS = PROJECT_ROOT / "scripts"
LAB = frozenset({"tests.lab"})
COMMANDS = sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*") if path.is_file() and not path.suffix)
RUN_MODULE = re.compile(r"^run_module (?:run|test) (\S+)", re.MULTILINE)


def outside(modules: dict[str, Module], allowed: frozenset[str]) -> list[str]:
    """Describe the imports of scripts or tests outside the `allowed` folders."""
    ours = frozenset({"scripts", "tests"})
    return [
        f"{module.name}:{found.line} imports {found.target}"
        for module in modules.values()
        for found in module.imports
        if is_in(found.target, ours) and not is_in(found.target, allowed)
    ]


def test_the_lab_imports_neither_scripts_nor_other_tests() -> None:
    """`tests/lab` is below both."""
    assert outside(parse(read_sources(PROJECT_ROOT, "tests/lab")), LAB) == []


def test_scripts_import_of_tests_only_the_lab() -> None:
    """A command does not depend on a test."""
    assert outside(parse(read_sources(PROJECT_ROOT, "scripts")), LAB | {"scripts"}) == []


def test_the_check_finds_an_import_of_another_test() -> None:
    """Checks the rule itself."""
    modules = parse({"tests.lab.a": "from tests import b\nfrom scripts.c import d\nimport tests.lab.e"})
    assert outside(modules, LAB) == ["tests.lab.a:1 imports tests", "tests.lab.a:2 imports scripts.c"]


def test_the_readme_lists_every_command() -> None:
    """And nothing else."""
    listed = re.findall(r"^\| `([^`]+)` \|", (SCRIPTS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_executable_and_its_module_exists(name: str) -> None:
    """Everything that a command runs is in `scripts` or in the lab."""
    assert os.access(SCRIPTS / name, os.X_OK)
    for module in RUN_MODULE.findall((SCRIPTS / name).read_text(encoding="utf-8")):
        assert is_in(module, LAB | {"scripts"})
        assert find_spec(module) is not None


def test_documents_call_commands_and_not_modules() -> None:
    """There is one way to call a tool."""
    pages = [*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").glob("*.md"), *SCRIPTS.rglob("*.md")]
    assert [page.name for page in pages if re.search(r"-m (scripts|tests)\.", page.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, tmp_path: Path) -> None:
    """Each command, called from another folder, prints its options and leaves no files."""
    done = subprocess.run(
        [SCRIPTS / name, "--help"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout) > 40
    assert list(tmp_path.iterdir()) == []
