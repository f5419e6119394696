"""Builds a Debian package for this machine's release and architecture: the version's environment, its links and its services.

The environment contains absolute paths, so it is built at its installed location below /opt/avatar-relay; a version already installed
there is packaged unchanged. A service starts if its settings file exists. dpkg deletes the previous version: to go back, install its
package.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from avatar_relay.command import CommandLine, one_line
from avatar_relay.installer.commands import say
from avatar_relay.installer.machine import Machine
from avatar_relay.installer.packages import HOME, SHELL, need_debian, need_packages
from avatar_relay.installer.plan import OPT, ROLES, SETTINGS, MachineRole
from avatar_relay.installer.plan import UNITS as INSTALLED_UNITS
from avatar_relay.installer.process import InstallError, InstallInterrupted, interruptible, only_one, run
from avatar_relay.installer.release import SOURCES, of_sources

PACKAGE = "avatar-relay"
UNITS = "usr/lib/systemd/system"
LIBRARIES = (
    "libportaudio2, libopus0, libespeak-ng1, espeak-ng-data, libgl1, libegl1, libgles2, libgbm1, libgl1-mesa-dri, passwd, ca-certificates"
)
CONTROL = """Package: {package}
Version: {version}
Architecture: {architecture}
Maintainer: avatar-relay contributors <noreply@example.invalid>
Section: sound
Priority: optional
Installed-Size: {size_kib}
Depends: python3 (>= {python}), python3 (<< {next_python}), {libraries}
Description: talking face for small devices: relay and edge client
 A relay streams encoded speech and motion to edge clients, which play the
 sound through ALSA and draw the face in lip-sync.
"""
BEFORE = """#!/bin/sh
set -e
for unit in {units}; do
  if [ -e "/{installed}/$unit" ]; then
    echo "avatar-relay: scripts/install has installed $unit, which does the same; to change over: scripts/install uninstall" >&2
    exit 1
  fi
done
for user in {users}; do
  home=$(getent passwd "$user" | cut -d : -f 6)
  if [ -n "$home" ] && [ "$home" != {home} ]; then
    echo "avatar-relay: the user $user, as which a service is to run, is an account with home $home; rename or delete it first" >&2
    exit 1
  fi
done
"""
START = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
{users}
ln -sfn versions/{name} /{opt}/current
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
for pair in {pairs}; do
  if [ -e "/{settings}/${{pair#*=}}" ] && [ -d /run/systemd/system ]; then
    systemctl enable "${{pair%%=*}}"
    systemctl restart --no-block "${{pair%%=*}}"
  fi
done
"""
STOP = """#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
if [ -d /run/systemd/system ]; then systemctl disable --now {units} || true; fi
rm -f /{opt}/current
"""
AFTER = """#!/bin/sh
set -e
case "$1" in
  remove) rm -rf /{opt}/versions/{name} ;;
  purge)
    rm -rf /{opt} /{settings} {folders}
    for user in {users}; do
      if [ "$(getent passwd "$user" | cut -d : -f 6)" = {home} ]; then userdel "$user"; fi
    done
    ;;
esac
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
"""


def user_lines(role: MachineRole) -> str:
    """Script lines that create a user and add it to those of its groups that exist on the machine."""
    made = f"useradd --system --user-group --home-dir {HOME} --shell {SHELL} {role.user}"
    lines = [f"getent passwd {role.user} >/dev/null || {made}"]
    lines += [f"if getent group {group} >/dev/null; then usermod --append --groups {group} {role.user}; fi" for group in role.groups]
    return "\n".join(lines)


def scripts_of(name: str, roles: Sequence[MachineRole]) -> dict[str, str]:
    """The maintainer scripts of a version. Pure."""
    folders = " ".join(f"/{folder}" for role in roles for folder in role.folders)
    units, users = " ".join(role.unit for role in roles), " ".join(role.user for role in roles)
    common = {"name": name, "opt": OPT, "settings": SETTINGS, "home": HOME}
    return {
        "preinst": BEFORE.format(units=units, installed=INSTALLED_UNITS, users=users, home=HOME),
        "postinst": START.format(
            **common, users="\n".join(map(user_lines, roles)), pairs=" ".join(f"{role.unit}={role.settings}" for role in roles)
        ),
        "prerm": STOP.format(**common, units=units),
        "postrm": AFTER.format(**common, folders=folders, users=users),
    }


def stage(tree: Path, version: Path, roles: Sequence[MachineRole]) -> None:
    """Write the package's files below `tree`."""
    target = tree / OPT / "versions" / version.name
    shutil.copytree(version, target, symlinks=True)
    (tree / UNITS).mkdir(parents=True)
    for role in roles:
        shutil.copy(version / "units" / role.unit, tree / UNITS)
        for command in role.commands:
            link = tree / "usr/bin" / command
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"/{OPT}/current/bin/{command}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the package; prints its path last."""
    parser = CommandLine(prog="scripts/deb", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SOURCES / "dist", metavar="DIR", help="where the package is put (default: dist)")
    options = parser.parse_args(arguments)
    try:
        if os.geteuid() != 0:
            raise InstallError("the environment is built in /opt/avatar-relay: sudo scripts/deb")
        with interruptible(), only_one(Path("/"), say):
            print(build(options.out, Machine(Path("/"))))
    except (InstallError, InstallInterrupted, OSError) as error:
        if isinstance(error, InstallError) and error.output:
            print(error.output, file=sys.stderr)
        print(f"scripts/deb: error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def build(out: Path, machine: Machine) -> Path:
    """Build the package; returns its path. Raises `InstallError`."""
    roles = ROLES["both"]
    release = of_sources(SOURCES, roles)
    was_there, is_new_here = machine.is_complete(release.name), not machine.path(OPT).exists()
    need_packages(need_debian(), say)
    if not was_there:
        say(f"building {release.name} in /{OPT}; some minutes on a small machine")
        machine.build(release)
    try:
        return _pack(out, machine.version(release.name), roles)
    finally:
        if is_new_here:
            shutil.rmtree(machine.path(OPT))
        elif not was_there:
            machine.remove_version(release.name)


def _pack(out: Path, version: Path, roles: Sequence[MachineRole]) -> Path:
    architecture = run("dpkg", "--print-architecture", what="asking dpkg").strip()
    declared, _, digest = version.name.partition("-")
    debian = platform.freedesktop_os_release().get("VERSION_ID", "testing")
    number = f"{declared}+{time.strftime('%Y%m%d%H%M', time.gmtime())}.{digest.rpartition('-')[2]}~deb{debian}"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / PACKAGE
        stage(tree, version, roles)
        size_kib = sum(path.lstat().st_size for path in tree.rglob("*")) // 1_024
        (tree / "DEBIAN").mkdir()
        python = sys.version_info
        control = CONTROL.format(
            package=PACKAGE,
            version=number,
            architecture=architecture,
            size_kib=size_kib,
            python=f"{python.major}.{python.minor}",
            next_python=f"{python.major}.{python.minor + 1}",
            libraries=LIBRARIES,
        )
        (tree / "DEBIAN/control").write_text(control, encoding="utf-8")
        for script, text in scripts_of(version.name, roles).items():
            (tree / "DEBIAN" / script).write_text(text, encoding="utf-8")
            (tree / "DEBIAN" / script).chmod(0o755)
        out.mkdir(parents=True, exist_ok=True)
        package = out / f"{PACKAGE}_{number}_{architecture}.deb"
        run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "--build", tree, package, limit_s=3_600, what="packing")
    return package


if __name__ == "__main__":
    sys.exit(main())
