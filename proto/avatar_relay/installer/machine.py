"""Operations on the machine: files below a root folder, users, the service manager. All are idempotent."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from avatar_relay.installer.atomic_files import link_atomically, write_atomically
from avatar_relay.installer.packages import remove_user
from avatar_relay.installer.plan import BIN, OPT, SETTINGS, UNITS, USER_DROP_IN, MachineRole
from avatar_relay.installer.process import InstallError, run
from avatar_relay.installer.release import SoftwareRelease
from avatar_relay.installer.trial import ServiceState
from avatar_relay.installer.unfinished import UnfinishedChange, read_unfinished

BUILD_S, SELF_TEST_S = 7_200, 400
BUILD_BYTES = 1_000_000_000
"""Free space that a new version needs, with what pip downloads for it."""
COMPLETE = "installed"
PYTHON = Path("/usr/bin/python3")
"""Debian's own Python: every user may run it, and it remains as long as Debian does."""
UNITS_OF_WHEEL = "lib/python3*/site-packages/avatar_relay/installer/units"
PYAUDIO = "pyaudio>=0.2.14,<0.3"


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
        else:
            link_atomically(path, Path("versions") / name)

    @property
    def unfinished(self) -> UnfinishedChange | None:
        """The change that an interrupted run began; None if there is none."""
        path = self.path(OPT / "unfinished")
        return read_unfinished(path.read_text(encoding="utf-8")) if path.is_file() else None

    def begin_change(self, change: UnfinishedChange) -> None:
        """Record a change before it begins."""
        write_atomically(self.path(OPT / "unfinished"), change.as_text())

    def end_change(self) -> None:
        """Delete the record: the change is complete, or was taken back."""
        self.path(OPT / "unfinished").unlink(missing_ok=True)

    def build(self, release: SoftwareRelease) -> None:
        """Build a virtual environment with the release, and its units; one that fails is deleted. Raises `InstallError`."""
        if not release.requirement:
            raise InstallError(f"{release.name} is not complete; install it anew from a clone or a wheel")
        opt = self.path(OPT)
        opt.mkdir(parents=True, exist_ok=True)
        self.remove_version(release.name)
        if (free := shutil.disk_usage(opt).free) < BUILD_BYTES:
            raise InstallError(f"/{OPT}: {free // 1_000_000} MB are free, but {BUILD_BYTES // 1_000_000} are needed; free some space")
        try:
            self._build(release)
        except BaseException:
            self.remove_version(release.name)
            raise

    def _build(self, release: SoftwareRelease) -> None:
        folder, wheels = self.version(release.name), self.path(OPT / "wheels")
        folder.parent.mkdir(parents=True, exist_ok=True)
        run(PYTHON, "-m", "venv", folder, limit_s=BUILD_S, what="making the environment")
        pip = (folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "--cache-dir", self.path(OPT / "cache"))
        if release.compiles and not list(wheels.glob(f"[Pp]y[Aa]udio-*-{python_tag()}-*.whl")):
            new = folder / "wheels"
            run(*pip, "wheel", "--no-deps", "--wheel-dir", new, PYAUDIO, limit_s=BUILD_S, what="compiling PyAudio")
            wheels.mkdir(exist_ok=True)
            for wheel in new.iterdir():
                wheel.replace(wheels / wheel.name)
            new.rmdir()
        install = (*pip, "install", "--find-links", wheels)
        run(*install, *release.requirement, limit_s=BUILD_S, what="installing the release with pip")
        for units in folder.glob(UNITS_OF_WHEEL):
            shutil.copytree(units, folder / "units")
        (folder / COMPLETE).write_text(f"{release.name}\n", encoding="ascii")

    def remove_version(self, name: str) -> None:
        """Delete a version: first what marks it as complete."""
        (self.version(name) / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(self.version(name), ignore_errors=True)

    def self_test(self, name: str, role: MachineRole) -> None:
        """Run the release's self-test as the user that will run it. Raises `InstallError` with the parts that failed."""
        as_user = _as_user(role.user) if self.is_real else ()
        failure = "the new release failed its self-test, and nothing was changed"
        run(*as_user, self.version(name) / "bin/edge-client", "self-test", limit_s=SELF_TEST_S, what=failure)

    # --- settings, commands --------------------------------------------------------------------------------------------

    def read_settings(self, role: MachineRole) -> str | None:
        """Text of the settings file; None if it is missing."""
        path = self.path(SETTINGS / role.settings)
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write_settings(self, role: MachineRole, text: str | None) -> None:
        """Replace the file, or delete it. It is world-readable: it names files with secrets, but contains none."""
        path = self.path(SETTINGS / role.settings)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, text)

    def need_writable(self) -> None:
        """Raise `InstallError` if a folder that every installation changes is on a read-only file system."""
        for place in (OPT, UNITS, BIN):
            path = self.path(place)
            while not path.exists():
                path = path.parent
            if os.statvfs(path).f_flag & os.ST_RDONLY:
                raise InstallError(f"{path} is on a read-only file system; remount it writable")

    def link_commands(self, role: MachineRole) -> None:
        """Link the running version's programs in /usr/local/bin. A file there that is not a link is left alone."""
        for name in role.commands:
            path = self.path(BIN / name)
            if path.is_symlink() or not path.exists():
                link_atomically(path, Path("/") / OPT / "current/bin" / name)

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

    def _units(self, name: str, role: MachineRole) -> dict[Path, str]:
        wanted = {place: (self.version(name) / "units" / file).read_text(encoding="utf-8") for file, place in role.places.items()}
        if role.is_desktop:
            wanted[USER_DROP_IN] = f"[Unit]\nConditionUser={role.user}\n"
        return {self.path(place): text for place, text in wanted.items()}

    def units_differ(self, name: str, roles: Iterable[MachineRole]) -> bool:
        """Whether the units in place are not those of a version."""
        units = [unit for role in roles for unit in self._units(name, role).items()]
        return any(not path.is_file() or path.read_text(encoding="utf-8") != text for path, text in units)

    def put_units(self, name: str, role: MachineRole) -> None:
        """Write the units of a version."""
        for path, text in self._units(name, role).items():
            write_atomically(path, text)

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
        _remove_tree(self.path(OPT))
        if not purge:
            return
        _remove_tree(self.path(SETTINGS))
        for role in roles:
            home = Path(pwd.getpwnam(role.user).pw_dir) if role.is_desktop and self.is_real else self.root
            for folder in role.folders:
                _remove_tree(home / folder)
            if not role.is_desktop and self.is_real:
                remove_user(role)


def _remove_tree(path: Path) -> None:
    """Delete a folder if it exists. Raises `OSError`."""
    if path.exists():
        shutil.rmtree(path)


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
