"""Lists the files, users and groups of a machine, to find what an installation leaves behind."""

from __future__ import annotations

import os
import re
from pathlib import Path

NOT_OF_THE_MACHINE = ("/proc", "/sys", "/dev", "/run", "/tmp", "/test-data", "/srv")
"""Folders of the kernel and of this run, which belong to no installation."""
OF_THE_PACKAGE_MANAGER = re.compile(
    "/var/lib/(dpkg|apt)/|/var/cache/(apt|debconf|ldconfig)/|/var/log/|/etc/ld.so.cache$|/etc/alternatives/|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$"
    "|.*/__pycache__(/|$)"
)
"""Files maintained by apt, dpkg, user management programs, and the triggers of Debian's packages."""


def files_of_machine() -> set[str]:
    """All paths, and a line for each user and group."""
    found = set[str]()
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in NOT_OF_THE_MACHINE]
        found.update(os.path.join(folder, name) for name in (*folders, *files))
    for file in ("/etc/passwd", "/etc/group"):
        found.update(f"{file}: {line}" for line in Path(file).read_text(encoding="utf-8").splitlines())
    return found


def of_packages() -> set[str]:
    """The paths that belong to an installed package; dpkg writes /lib even if that is a link to /usr/lib."""
    lists = Path("/var/lib/dpkg/info").glob("*.list")
    paths = {Path(line) for path in lists for line in path.read_text(encoding="utf-8").splitlines()}
    folders = {path.parent for path in paths}
    real = {folder: Path(os.path.realpath(folder)) for folder in folders}
    return {str(real[path.parent] / path.name) for path in paths}


def created(before: set[str], after: set[str], *, but_for_packages: bool) -> list[str]:
    """New entries, sorted, without the package manager's files; `but_for_packages` also excludes packages' files."""
    new = {path for path in after - before if not OF_THE_PACKAGE_MANAGER.match(path)}
    if but_for_packages:
        owned = of_packages()
        new = {path for path in new - owned if not (os.path.islink(path) and os.readlink(path).startswith("/etc/alternatives/"))}
    return sorted(new)
