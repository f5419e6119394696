"""What to install: the sources that contain this code, the wheel it came from, or the version it belongs to."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from avatar_relay.installer.plan import OPT, MachineRole, extras_of, version_name

PROJECT = "avatar-relay"
SOURCES = Path(__file__).resolve().parents[3]
"""A clone or an unpacked release, if it holds a pyproject.toml."""
FOLDERS = ("proto", "edge_client", "relay_server", "system")
"""Folders that determine a version, besides pyproject.toml and the build hook."""


@dataclass(frozen=True)
class SoftwareRelease:
    """A version's `name`, and the arguments with which `pip install` installs it; empty if it must already be installed."""

    name: str
    requirement: tuple[str, ...]
    compiles: bool = False
    """It needs PyAudio, which has no wheels."""


def own_release(roles: Sequence[MachineRole]) -> SoftwareRelease:
    """Return the release of this code. Raises `ValueError` if its sources or its wheel cannot be found."""
    if (SOURCES / "pyproject.toml").is_file():
        return of_sources(SOURCES, roles)
    here = Path(sys.prefix)
    if here.parent == Path("/") / OPT / "versions":
        return SoftwareRelease(here.name, ())
    try:
        found = distribution(PROJECT)
    except PackageNotFoundError as error:
        raise ValueError(f"{PROJECT} is not installed in {here}, and {SOURCES} holds no sources") from error
    came_from = json.loads(found.read_text("direct_url.json") or "{}").get("url", "")
    path = Path(unquote(urlsplit(came_from).path))
    if came_from.startswith("file:") and path.is_dir():
        return of_sources(path, roles)
    if came_from.startswith("file:"):
        if not path.is_file():
            raise ValueError(f"{path}, which this was installed from, is gone; put it there, or install from a clone")
        return _named(found.version, {path.name: path.read_bytes()}, roles, str(path))
    return _named(found.version, {}, roles, f"{PROJECT}=={found.version}")


def of_sources(root: Path, roles: Sequence[MachineRole]) -> SoftwareRelease:
    """Return the release of a folder with sources."""
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return _named(declared, read_sources(root), roles, str(root))


def _named(declared: str, files: dict[str, bytes], roles: Sequence[MachineRole], source: str) -> SoftwareRelease:
    name, _, version = source.partition("==")
    extras = extras_of(roles)
    wanted = f"{name}[{','.join(extras)}]" + f"=={version}" * bool(version)
    return SoftwareRelease(version_name(declared, files, [role.extras[0] for role in roles]), (wanted,), compiles="edge" in extras)


def read_sources(root: Path) -> dict[str, bytes]:
    """Read the files that determine a version, by path, without the products of builds and runs."""
    paths = [root / "pyproject.toml", root / "scripts" / "compile_protos.py"]
    for folder in FOLDERS:
        paths += [path for path in (root / folder).rglob("*") if path.is_file() and not {"__pycache__", "v1"} & set(path.parts)]
    paths += (root / "proto").rglob("*.proto")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}
