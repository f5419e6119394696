"""What `scripts/arm/deb` tries with its package on a clean machine: install, self-test, purge. Prints a table with a verdict for each line.

Runs as root in the chroot. No service runs there: `scripts/install_check` has a device of a package speak.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scripts.installer.check_table import Table, need, nothing_since, run
from scripts.installer.file_list import files_of_machine

EMULATED_S = 3_600.0
"""Time limit of a command on an emulated processor."""
AS_SERVICE = ("setpriv", "--reuid=avatar", "--regid=avatar", "--init-groups", "env", "-i", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8")


def installed(package: Path) -> str:
    """Install it with the packages that it depends on; returns the version that it runs."""
    run("apt-get", "-qq", "-y", "--no-install-recommends", "install", package, limit_s=EMULATED_S)
    return run(*AS_SERVICE, "edge-client", "--version", limit_s=EMULATED_S).strip()


def self_test() -> str:
    """Run the self-test as the service's user; returns its findings."""
    return run(*AS_SERVICE, "edge-client", "self-test", "--within", "900", limit_s=EMULATED_S).strip()


def purged(before: set[str]) -> str:
    """Purge it; nothing may be left but the packages that it depends on."""
    run("apt-get", "-qq", "-y", "purge", "avatar-relay", limit_s=EMULATED_S)
    return nothing_since(before, but_for_packages=True)


def main(package: Path) -> int:
    """Run all checks; returns 1 if one failed."""
    table, before = Table(), files_of_machine()
    architecture = run("dpkg", "--print-architecture").strip()
    need(run("dpkg-deb", "--field", package, "Architecture").strip() == architecture, f"{package.name} is not for {architecture}")
    if table.row(f"{package.name} is installed", lambda: installed(package)):
        table.row("edge-client self-test, as the service's user", self_test)
        table.row("purging leaves nothing", lambda: purged(before))
    return table.show()


if __name__ == "__main__":
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    sys.exit(main(Path(sys.argv[1])))
