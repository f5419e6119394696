"""Puts a release into an index of releases: wheels, pip's pages, and the lock for this Python and this machine."""

from __future__ import annotations

import argparse
import hashlib
import html
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from avatar_relay.installer.index import lock_place, locked_version
from avatar_relay.installer.machine import BUILD_S, PYTHON, python_tag
from avatar_relay.installer.plan import ROLES, extras_of
from avatar_relay.installer.process import InstallError, run
from avatar_relay.installer.release import PROJECT, SOURCES


def project_of(wheel: Path) -> tuple[str, str]:
    """A wheel's normalized project name and version."""
    name, version = wheel.name.split("-")[:2]
    return re.sub(r"[-_.]+", "-", name).lower(), version


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_lock(out: Path, wheels: Sequence[Path], place: str) -> None:
    """Write the lock, one line per wheel."""
    lines = [f"{name}=={version} --hash=sha256:{sha256(path)}" for path in sorted(wheels) for name, version in [project_of(path)]]
    text = "".join(f"{line}\n" for line in lines)
    locked_version(text, PROJECT)
    (out / place).parent.mkdir(parents=True, exist_ok=True)
    (out / place).write_text(text, encoding="ascii")


def write_pages(out: Path) -> None:
    """Write the index pages for pip, for all wheels in `files/`."""
    shutil.rmtree(out / "simple", ignore_errors=True)
    for wheel in sorted((out / "files").glob("*.whl")):
        page = out / "simple" / project_of(wheel)[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        name = html.escape(wheel.name)
        with page.open("a", encoding="utf-8") as file:
            file.write(f'<a href="../../files/{name}#sha256={sha256(wheel)}">{name}</a><br>\n')


def build(out: Path) -> str:
    """Add the release of the sources; returns the location of its lock. Raises `InstallError`."""
    place = lock_place(python_tag(), platform.machine())
    with tempfile.TemporaryDirectory() as folder:
        environment, built = Path(folder) / "environment", Path(folder) / "wheels"
        run(PYTHON, "-m", "venv", environment, limit_s=BUILD_S, what="making the environment")
        wanted = f"{SOURCES}[{','.join(extras_of(ROLES['both']))}]"
        run(environment / "bin/pip", "wheel", "--wheel-dir", built, wanted, limit_s=BUILD_S, what="building the wheels")
        wheels = list(built.glob("*.whl"))
        (out / "files").mkdir(parents=True, exist_ok=True)
        for wheel in wheels:
            shutil.copy(wheel, out / "files")
        write_pages(out)
        write_lock(out, wheels, place)  # last: everything that it names exists by then
    return place


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the index; prints the lock's path last."""
    parser = argparse.ArgumentParser(prog="scripts/update_index", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the index; what is there is kept")
    options = parser.parse_args(arguments)
    try:
        print(options.out / build(options.out))
    except (InstallError, OSError, ValueError) as error:
        print(f"scripts/update_index: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
