"""The Debian packages and the users that an installation needs."""

from __future__ import annotations

import grp
import platform
import pwd
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from avatar_relay.installer.faults import cause_of
from avatar_relay.installer.plan import MachineRole
from avatar_relay.installer.process import InstallError, run
from avatar_relay.installer.release import PROJECT

APT_S, APT_LOCK_S, APT_WAIT_S = 7_200, 300, 5
PACKAGES = Path(__file__).with_name("debian_packages.txt")
PROCESSES_END_S = 10.0
"""Time for a user's last processes to end after its service was stopped."""
HOME, SHELL = "/nonexistent", "/usr/sbin/nologin"
PROCESSORS = ("x86_64", "aarch64")


def need_debian() -> set[str]:
    """Check that the project can be installed here; returns the names of all installed packages. Raises `InstallError`."""
    if (processor := platform.machine()) not in PROCESSORS:
        raise InstallError(f"this machine's processor is {processor}; the project needs a 64-bit system: {' or '.join(PROCESSORS)}")
    known = run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", what="this is no Debian 12 or 13")
    there = {line.partition(" ")[2] for line in known.splitlines() if line.startswith("installed ")}
    if PROJECT in there:
        raise InstallError(f"the Debian package {PROJECT} is installed, which does the same; to change over: apt-get remove {PROJECT}")
    return there


def need_packages(there: set[str], say: Callable[[str], None]) -> None:
    """Install what is not among the packages `there`. Waits for apt's locks. Raises `InstallError`."""
    missing = [package for package in PACKAGES.read_text(encoding="ascii").split() if package not in there]
    if not missing:
        return
    say(f"installing {len(missing)} Debian packages")
    lists = _apt_get(say, "update")
    try:
        _apt_get(say, "install", "-y", *missing)
    except InstallError as error:
        cause = cause_of(lists)
        raise InstallError(f"apt-get update: {cause}", lists) if cause else error from error


def _apt_get(say: Callable[[str], None], *arguments: str) -> str:
    """Run apt-get; returns all its output. It waits for dpkg's lock itself; this waits for the lock of the package lists."""
    apt = f'exec apt-get -q -o DPkg::Lock::Timeout={APT_LOCK_S} -o APT::Install-Recommends=false "$@" 2>&1'
    command = ("env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", apt, "apt-get", *arguments)
    end_s = time.monotonic() + APT_LOCK_S
    while True:
        try:
            return run(*command, limit_s=APT_S, what=f"apt-get {arguments[0]}", finishes=True)
        except InstallError as error:
            if "dpkg --configure -a" in error.output:
                run("dpkg", "--configure", "-a", limit_s=APT_S, what="finishing an interrupted installation of packages", finishes=True)
            elif time.monotonic() > end_s or not ("Could not get lock" in error.output or "Unable to lock" in error.output):
                raise
            else:
                say("another program holds the package manager's lock; waiting")
                time.sleep(APT_WAIT_S)


def need_user(role: MachineRole) -> None:
    """Create a system user without home or shell, with its groups that exist here. A desktop's user must exist. Raises `InstallError`."""
    if not (there := check_user(role)):
        run("useradd", "--system", "--user-group", "--home-dir", HOME, "--shell", SHELL, role.user, what=f"creating the user {role.user}")
    groups = [group.gr_name for group in grp.getgrall() if group.gr_name in role.groups and not (there and role.user in group.gr_mem)]
    if groups:
        run("usermod", "--append", "--groups", ",".join(groups), role.user, what=f"adding the user {role.user} to groups")


def check_user(role: MachineRole) -> bool:
    """Return whether a role's user exists. Raises `InstallError` if a desktop's user does not, and if the user is someone's account."""
    try:
        entry = pwd.getpwnam(role.user)
    except KeyError:
        if role.is_desktop:
            raise InstallError(f"--desktop {role.user}: this machine has no such user") from None
        return False
    if role.is_desktop and entry.pw_uid == 0:
        raise InstallError(f"--desktop {role.user}: name the user of the graphical session, not root")
    if not role.is_desktop and not _is_ours(entry):
        raise InstallError(
            f"the service's user {role.user} is an account of this machine, with home {entry.pw_dir}; rename or delete it first"
        )
    return True


def remove_user(role: MachineRole) -> None:
    """Delete the user that `need_user` created, and no other. Raises `InstallError`."""
    for entry in pwd.getpwall():
        if entry.pw_name == role.user and _is_ours(entry):
            until_s = time.monotonic() + PROCESSES_END_S
            while processes_of(entry.pw_uid) and time.monotonic() < until_s:
                time.sleep(0.1)
            run("userdel", role.user, what=f"deleting the user {role.user}")


def processes_of(uid: int) -> list[int]:
    """Process ids of a user."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if folder.stat().st_uid == uid:
                found.append(int(folder.name))
    return found


def _is_ours(entry: pwd.struct_passwd) -> bool:
    return (entry.pw_dir, entry.pw_shell) == (HOME, SHELL)
