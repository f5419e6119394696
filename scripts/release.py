"""Builds a release of HEAD and checks it: see `scripts/release`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRIALS = (("relay-server", "--version"), ("relayctl", "--version"), ("edge-client", "version"), ("edge-client", "self-test"))
"""Commands that must succeed in the installed environment."""
EXTRAS = "relay,edge,cluster,discovery,pairing,prometheus"
"""All extras in the installation instructions, except vendors' SDKs."""
PERMISSIVE = re.compile(
    r"\b(MIT|MIT-CMU|HPND|BSD|0BSD|Apache|ISC|Zlib|PSF|Python Software Foundation|Unlicense|CC0|MPL|Mozilla)\b|\b(BSD|Apache|PSF)-",
    re.IGNORECASE,
)
"""Licences that need no entry on docs/licences.md."""


class ReleaseError(Exception):
    """The release is faulty; the message describes the fault, its place, and the remedy."""


def run(*command: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """The output of a command. Raises `ReleaseError` with its output if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(
            f"{Path(command[0]).name} {' '.join(map(str, command[1:4]))} …: exit status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def notes(changelog: str, version: str) -> str:
    """The section of a version. Raises `ReleaseError` if it is missing or empty, has no date, or changes wait above it."""
    sections = re.split(r"^## \[([^\]]+)\](.*)\n", changelog, flags=re.MULTILINE)
    found = {name: (rest.strip(), text.strip()) for name, rest, text in zip(sections[1::3], sections[2::3], sections[3::3], strict=True)}
    if found.get("Unreleased", ("", ""))[1]:
        raise ReleaseError(f"CHANGELOG.md: there are changes under [Unreleased]; move them to [{version}]")
    date, text = found.get(version, ("", ""))
    if not text:
        raise ReleaseError(f"CHANGELOG.md: no section [{version}], which is the version in pyproject.toml, or an empty one")
    if not re.fullmatch(r"- \d{4}-\d{2}-\d{2}", date):
        raise ReleaseError(f"CHANGELOG.md: the section [{version}] needs a date, such as '## [{version}] - 2026-01-31'")
    return f"{text}\n"


def unlisted(components: Sequence[Mapping[str, Any]], page: str) -> Iterator[str]:
    """Components of the SBOM whose licence is neither permissive nor listed in `page`, the text of the licences page."""
    for component in components:
        entries = component.get("licenses", [])
        licences = [
            one.get("expression") or one.get("license", {}).get("id") or one.get("license", {}).get("name") or "" for one in entries
        ]
        # every part of "LGPL-2.1 AND MIT" counts; of "A OR B" one is enough
        parts = [part for licence in licences for part in re.split(r"\bAND\b", licence)]
        if parts and all(PERMISSIVE.search(part) for part in parts):
            continue
        if not re.search(rf"(^|[^\w-]){re.escape(component['name'])}($|[^\w-])", page, re.IGNORECASE):
            yield f"{component['name']} {component.get('version', '')}: {', '.join(licences) or 'no licence in its metadata'}"


def digest(path: Path) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(folder: Path) -> list[Path]:
    """Wheel and sdist of HEAD, built in a fresh folder with the time of its commit."""
    archive = folder.with_suffix(".tar")
    run("git", "archive", "--output", archive, "HEAD")
    shutil.unpack_archive(archive, folder)
    environment = {"SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct").strip()}
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--target", "wheel", cwd=folder, environment=environment)
    return sorted((folder / "dist").iterdir())


def pythons(wanted: Sequence[str]) -> dict[str, Path | None]:
    """The interpreter of each version such as `3.13`: on the path, of pyenv or of uv; None if there is none."""
    found: dict[str, Path | None] = {}
    for version in wanted:
        candidates = [shutil.which(f"python{version}"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True)]
        candidates += sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}*/bin/python3"), reverse=True)
        found[version] = next((Path(one) for one in candidates if one and works(Path(one), version)), None)
    return found


def works(python: Path, version: str) -> bool:
    """Whether the interpreter starts, has this version, and can create environments."""
    test = f"import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    return subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0


def install(python: Path, package: Path, folder: Path) -> Path:
    """A clean environment with the package and all extras, in which the programs start. Returns its interpreter."""
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    run(
        inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"avatar-relay[{EXTRAS}] @ {package.as_uri()}", cwd=folder
    )
    for program, argument in TRIALS:
        run(folder / "bin" / program, argument, cwd=folder)
    run(inside, "-m", "pip", "check", cwd=folder)
    return inside


def release(out: Path, wanted: Sequence[str]) -> None:
    """Build and check the release. Raises `ReleaseError`."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    text = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if run("git", "status", "--porcelain", "--untracked-files=no"):
        print("note: changes that are not committed are not in the release")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        first, second = build(work / "one"), build(work / "another-folder")
        for one, other in zip(first, second, strict=True):
            if digest(one) != digest(other):
                raise ReleaseError(f"{one.name} is not reproducible: two builds of one commit differ; compare them with diffoscope")
        print(f"reproducible: {', '.join(path.name for path in first)}")
        run(sys.executable, "-m", "twine", "check", "--strict", *first)
        print("metadata: good")
        environments: list[Path] = []
        for python_version, python in pythons(wanted).items():
            if python is None:
                print(f"skipped: there is no Python {python_version} here")
                continue
            for package in first:
                environments.append(install(python, package, work / f"{python_version}-{package.suffix[1:]}"))
                print(f"installed: {package.name} with Python {python_version}")
        if not environments:
            raise ReleaseError(f"none of the Pythons {', '.join(wanted)} is here; install one (pyenv, uv), or name others by --pythons")
        sbom = out / "sbom.json"
        command = (sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", ROOT / "pyproject.toml", "--output-reproducible")
        run(*command, "--output-format", "JSON", "--output-file", sbom, environments[0])
        components = json.loads(sbom.read_text(encoding="utf-8")).get("components", [])
        tools = {"pip", "setuptools", "wheel", "avatar-relay"}
        if lacking := [*unlisted([one for one in components if one["name"] not in tools], (ROOT / "docs/licences.md").read_text("utf-8"))]:
            raise ReleaseError("not on docs/licences.md: " + "; ".join(lacking))
        print(f"licences: {len(components)} components, in sbom.json")
        packages = [Path(shutil.copy2(path, out / path.name)) for path in first]
    (out / "notes.md").write_text(text, encoding="utf-8")
    files = [*packages, sbom, out / "notes.md"]
    (out / "SHA256SUMS").write_text("".join(f"{digest(path)}  {path.name}\n" for path in files), encoding="utf-8")
    print(f"release {version}: {out}\nnext: git tag -s v{version}; twine upload the packages; publish notes.md, sbom.json and SHA256SUMS")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="scripts/release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the results (default: dist)")
    parser.add_argument("--pythons", default="3.11,3.13", help="versions to install on, separated by commas (default: %(default)s)")
    known = parser.parse_args(arguments)
    try:
        release(known.out.resolve(), known.pythons.split(","))
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
