"""`scripts/release`: the notes, the licence check, and, as a slow test, a release of a copy of the project."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from scripts.release import ReleaseError, main, notes, pythons, unlisted
from tests.lab.data import PROJECT_ROOT

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-05-01\n\n### Added\n\n- New.\n\n## [0.1.0] - 2026-04-01\n\n- First.\n"


def test_notes_are_the_section_of_the_version() -> None:
    """Without its heading."""
    assert notes(CHANGELOG, "0.2.0") == "### Added\n\n- New.\n"


@pytest.mark.parametrize(
    ("changelog", "version", "what"),
    [
        (CHANGELOG, "0.3.0", r"no section \[0.3.0\]"),
        (CHANGELOG.replace(" - 2026-05-01", " - unreleased"), "0.2.0", "needs a date"),
        (CHANGELOG.replace("## [0.2.0]", "- Waits.\n\n## [0.2.0]"), "0.2.0", r"under \[Unreleased\]"),
    ],
)
def test_an_unfinished_changelog_is_refused(changelog: str, version: str, what: str) -> None:
    """The error states what to do."""
    with pytest.raises(ReleaseError, match=what):
        notes(changelog, version)


@pytest.mark.parametrize(
    ("licences", "named", "listed"),
    [
        ([{"license": {"id": "MIT"}}], False, []),
        ([{"expression": "Apache-2.0 OR GPL-2.0-only"}], False, []),
        ([{"expression": "LGPL-2.1-or-later AND MIT"}], False, ["thing 1: LGPL-2.1-or-later AND MIT"]),
        ([{"expression": "LGPL-2.1-or-later"}], True, []),
        ([], False, ["thing 1: no licence in its metadata"]),
    ],
)
def test_a_licence_with_terms_must_be_on_the_page(licences: list[object], named: bool, listed: list[str]) -> None:
    """Permissive licences are exempt; a part of a name does not match."""
    page = "| thing | LGPL |" if named else "| something, thing-two | MIT |"
    assert [*unlisted([{"name": "thing", "version": "1", "licenses": licences}], page)] == listed


def test_a_missing_python_is_reported() -> None:
    """No other Python is used instead."""
    assert pythons(["3.99"]) == {"3.99": None}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_release_of_a_copy(tmp_path: Path) -> None:
    """Both packages, the SBOM, notes and checksums; the wheel contains the stubs, and the version is the one in pyproject.toml."""
    done = subprocess.run(
        [PROJECT_ROOT / "scripts" / "release", "--out", tmp_path], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reproducible" in done.stdout
    (wheel,) = tmp_path.glob("*.whl")
    assert any(name.endswith("media_pb2.py") for name in zipfile.ZipFile(wheel).namelist())
    assert {one["name"] for one in json.loads((tmp_path / "sbom.json").read_text())["components"]} > {"grpcio", "numpy"}
    subprocess.run([shutil.which("sha256sum") or "sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_a_fault_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failing command determines the exit status, and its text is on standard error."""
    monkeypatch.setattr("scripts.release.ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.9.9"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    assert main(["--out", str(tmp_path / "out")]) == 1
    assert "no section [9.9.9]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
