"""Operations on the machine: files below a root folder, users, the service manager. All are idempotent."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from avatar_relay.installer.plan import BIN, OPT, SETTINGS, USER_DROP_IN, MachineRole
from avatar_relay.installer.release import SoftwareRelease
from avatar_relay.installer.trial import ServiceState

COMMAND_S, BUILD_S, SELF_TEST_S = 120, 1_800, 400
APT_LOCK_S, APT_WAIT_S = 300, 5
COMPLETE = "installed"
PYTHON = Path("/usr/bin/python3")
"""Debian's own Python: every user may run it, and it remains as long as Debian does."""
PACKAGES = Path(__file__).with_name("debian_packages.txt")
UNITS_OF_WHEEL = "lib/python3*/site-packages/avatar_relay/installer/units"
PYAUDIO = "pyaudio>=0.2.14,<0.3"


class InstallError(Exception):
    """An operation failed; the text says what to do."""


def run(*command: str | Path, limit_s: float = COMMAND_S, what: str) -> str:
    """Run a command; returns its standard output. Raises `InstallError` with the end of its output."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{what}: {error}") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise InstallError(f"{what}: {command[0]} ended with status {done.returncode}\n{said}")
    return done.stdout


class Machine:
    """The machine. `root` is `/`, or a folder in its place: then no user is made, and programs run as the caller."""

    def __init__(self, root: Path, systemctl: str = "systemctl") -> None:
        self.root = root
        self._systemctl = systemctl
        self.is_real = root == Path("/")
        self.has_manager = (root / "run/systemd/system").is_dir()
        """Whether a service manager runs: not in a chroot, nor while an image is built."""

    def path(self, place: PurePosixPath | str) -> Path:
        """Path of a place below the root."""
        return self.root / place

    # --- versions ---------------------------------------------------------------------------------------------------

    def version(self, name: str) -> Path:
        """Folder of a version."""
        return self.path(OPT / "versions" / name)

    def versions(self) -> list[str]:
        """Names of all existing versions, complete or not."""
        folder = self.path(OPT / "versions")
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def is_complete(self, name: str) -> bool:
        """Whether its environment was built completely."""
        return (self.version(name) / COMPLETE).is_file()

    def linked(self, link: str) -> str | None:
        """Version to which the link `current` or `previous` points; None if there is none."""
        path = self.path(OPT / link)
        return path.readlink().name if path.is_symlink() else None

    def link(self, link: str, name: str | None) -> None:
        """Point the link `current` or `previous` to a version, atomically; None removes the link."""
        path = self.path(OPT / link)
        if name is None:
            path.unlink(missing_ok=True)
            return
        new = path.with_name(f".{link}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions") / name)
        os.replace(new, path)

    def build(self, release: SoftwareRelease) -> None:
        """Build a virtual environment with the release, and its units. Raises `InstallError`."""
        folder, wheels = self.version(release.name), self.path(OPT / "wheels")
        if not release.requirement:
            raise InstallError(f"{release.name} is not complete; install it anew from a clone or a wheel")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        run(PYTHON, "-m", "venv", folder, limit_s=BUILD_S, what="making the environment")
        pip = (folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "--cache-dir", self.path(OPT / "cache"))
        if release.compiles and not list(wheels.glob(f"[Pp]y[Aa]udio-*-{python_tag()}-*.whl")):
            run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, PYAUDIO, limit_s=BUILD_S, what="compiling PyAudio")
        install = (*pip, "install", "--find-links", wheels)
        run(*install, *release.requirement, limit_s=BUILD_S, what="installing the release with pip")
        for units in folder.glob(UNITS_OF_WHEEL):
            shutil.copytree(units, folder / "units")
        (folder / COMPLETE).write_text(f"{release.name}\n", encoding="ascii")

    def remove_version(self, name: str) -> None:
        """Delete a version."""
        shutil.rmtree(self.version(name), ignore_errors=True)

    def self_test(self, name: str, role: MachineRole) -> None:
        """Run the release's self-test as the user that will run it. Raises `InstallError` with the parts that failed."""
        as_user = _as_user(role.user) if self.is_real else ()
        failure = "the new release failed its self-test, and nothing was changed"
        run(*as_user, self.version(name) / "bin/edge-client", "self-test", limit_s=SELF_TEST_S, what=failure)

    # --- packages, users, settings, commands ------------------------------------------------------------------------

    def need_packages(self) -> None:
        """Install missing Debian packages. Waits for apt's locks. Raises `InstallError`."""
        if not self.is_real:
            return
        known = subprocess.run(
            ("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n"), capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
        there = {line.partition(" ")[2] for line in known.stdout.splitlines() if line.startswith("installed ")}
        missing = [package for package in PACKAGES.read_text(encoding="ascii").split() if package not in there]
        if missing:
            self._apt_get("update")
            self._apt_get("install", "-y", *missing)

    @staticmethod
    def _apt_get(*arguments: str) -> None:
        """Run apt-get. It waits for dpkg's lock itself; this waits for the lock of the package lists."""
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-q", "-o", f"DPkg::Lock::Timeout={APT_LOCK_S}")
        end_s = time.monotonic() + APT_LOCK_S
        while True:
            try:
                run(*apt, "-o", "APT::Install-Recommends=false", *arguments, limit_s=BUILD_S, what=f"apt-get {arguments[0]}")
                return
            except InstallError as error:
                if time.monotonic() > end_s or not ("Could not get lock" in str(error) or "Unable to lock" in str(error)):
                    raise
            time.sleep(APT_WAIT_S)

    def need_user(self, role: MachineRole) -> None:
        """Make a system user without home or shell, with its groups that exist here. A desktop's user must exist. Raises `InstallError`."""
        if not self.is_real:
            return
        try:
            pwd.getpwnam(role.user)
        except KeyError:
            if role.is_desktop:
                raise InstallError(f"--desktop {role.user}: this machine has no such user") from None
            shell = "/usr/sbin/nologin"
            run("useradd", "--system", "--user-group", "--home-dir", "/nonexistent", "--shell", shell, role.user, what="making the user")
        groups = [group.gr_name for group in grp.getgrall() if group.gr_name in role.groups and role.user not in group.gr_mem]
        if groups:
            run("usermod", "--append", "--groups", ",".join(groups), role.user, what="putting the user into its groups")

    def read_settings(self, role: MachineRole) -> str | None:
        """Text of the settings file; None if it is missing."""
        path = self.path(SETTINGS / role.settings)
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write_settings(self, role: MachineRole, text: str) -> None:
        """Replace the file atomically. It is world-readable: it names files with secrets, but contains none."""
        path = self.path(SETTINGS / role.settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        os.replace(new, path)

    def link_commands(self, role: MachineRole) -> None:
        """Link the running version's programs in /usr/local/bin."""
        for name in role.commands:
            path = self.path(BIN / name)
            target = Path("/") / OPT / "current/bin" / name
            if path.is_symlink() or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.symlink_to(target)

    # --- services ---------------------------------------------------------------------------------------------------

    def installed_desktop(self) -> str:
        """User whose session shows the face; empty if none does."""
        path = self.path(USER_DROP_IN)
        return path.read_text(encoding="utf-8").strip().rpartition("=")[2] if path.is_file() else ""

    def is_installed(self, role: MachineRole) -> bool:
        """Whether its units are in place."""
        return all(self.path(place).is_file() for place in role.places.values())

    def runs(self, role: MachineRole) -> bool:
        """Whether the manager of its services runs: the system's, or that of the user, from login to logout."""
        return self.has_manager and (not role.is_desktop or not self.is_real or self._runtime(role).is_dir())

    @staticmethod
    def _runtime(role: MachineRole) -> Path:
        return Path(f"/run/user/{pwd.getpwnam(role.user).pw_uid}")

    def is_wanted(self, role: MachineRole) -> bool:
        """Whether the service should run: it is new, or has not been disabled."""
        if not self.is_installed(role):
            return True
        try:
            return self.systemctl(*_of_all(role), "is-enabled", role.unit).strip() == "enabled"
        except InstallError:
            return False

    def put_units(self, name: str, role: MachineRole) -> bool:
        """Write the units of a version; returns whether any has changed."""
        wanted = {place: (self.version(name) / "units" / file).read_text(encoding="utf-8") for file, place in role.places.items()}
        if role.is_desktop:
            wanted[USER_DROP_IN] = f"[Unit]\nConditionUser={role.user}\n"
        changed = False
        for place, text in wanted.items():
            path = self.path(place)
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                changed = True
        return changed

    def reload(self, roles: Iterable[MachineRole]) -> None:
        """Make the managers reload their units."""
        if self.has_manager:
            self.systemctl("daemon-reload")
        for role in roles:
            if role.is_desktop and self.runs(role):
                self.ask(role, "daemon-reload")

    def enable(self, role: MachineRole) -> None:
        """Make the service start with the machine, or the session."""
        if self.has_manager:
            self.systemctl(*_of_all(role), "enable", role.unit)
            if role.trigger:
                self.systemctl("enable", role.trigger)
                self.systemctl("restart", role.trigger)

    def ask(self, role: MachineRole, *arguments: str) -> str:
        """Run systemctl with the manager of a role's service. Raises `InstallError`."""
        if not role.is_desktop:
            return self.systemctl(*arguments)
        user = _as_user(role.user, f"XDG_RUNTIME_DIR={self._runtime(role)}") if self.is_real else ()
        return self.systemctl("--user", *arguments, before=user)

    def systemctl(self, *arguments: str, before: Sequence[str] = ()) -> str:
        """Run systemctl. Raises `InstallError`."""
        return run(*before, self._systemctl, *arguments, what=f"systemctl {' '.join(arguments)}")

    def service(self, role: MachineRole) -> ServiceState:
        """Current state of a service."""
        said = self.ask(role, "show", "-p", "ActiveState", "-p", "SubState", "-p", "NRestarts", "-p", "StatusText", role.unit)
        found = dict(line.partition("=")[::2] for line in said.splitlines())
        restarts = found.get("NRestarts", "0")
        return ServiceState(
            found.get("ActiveState", ""), found.get("SubState", ""), int(restarts) if restarts.isdigit() else 0, found.get("StatusText", "")
        )

    def remove_units(self, role: MachineRole) -> None:
        """Stop the service, and delete its units."""
        if self.has_manager and self.is_installed(role):
            if role.trigger:
                self.systemctl("disable", "--now", role.trigger)
            self.systemctl(*_of_all(role), "disable", role.unit)
            if self.runs(role):
                self.ask(role, "stop", role.unit)
        for place in role.places.values():
            self.path(place).unlink(missing_ok=True)
        if role.is_desktop:
            shutil.rmtree(self.path(USER_DROP_IN).parent, ignore_errors=True)
        self.reload([role])

    def remove(self, roles: Sequence[MachineRole], *, purge: bool) -> None:
        """Stop the services and delete everything except settings and state; with `purge` these and the users too."""
        for role in roles:
            self.remove_units(role)
            for name in role.commands:
                if self.path(BIN / name).is_symlink():
                    self.path(BIN / name).unlink()
        shutil.rmtree(self.path(OPT), ignore_errors=True)
        if not purge:
            return
        shutil.rmtree(self.path(SETTINGS), ignore_errors=True)
        for role in roles:
            home = Path(pwd.getpwnam(role.user).pw_dir) if role.is_desktop and self.is_real else self.root
            for folder in role.folders:
                shutil.rmtree(home / folder, ignore_errors=True)
            if not role.is_desktop and self.is_real and any(user.pw_name == role.user for user in pwd.getpwall()):
                run("userdel", role.user, what="deleting the user")


def _of_all(role: MachineRole) -> tuple[str, ...]:
    """Option for units of all users' managers, which can be enabled whether such a manager runs or not."""
    return ("--global",) if role.is_desktop else ()


def _as_user(user: str, *environment: str) -> tuple[str, ...]:
    """Command prefix to run a command as a user, without our environment."""
    clean = ("env", "-i", f"PATH={os.environ.get('PATH', os.defpath)}", "LC_ALL=C.UTF-8", *environment)
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *clean)


def python_tag() -> str:
    """Tag of Debian's Python in the names of wheels: `cp311`."""
    return run(PYTHON, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])", what="asking Python").strip()
