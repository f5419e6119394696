"""The machine that is changed: files below a root folder, users, the service manager. Everything here may be done twice."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from scripts.installer.plan import BIN, OPT, SETTINGS, UNITS, Role
from scripts.installer.trial import ServiceState

COMMAND_S, BUILD_S, SELF_TEST_S = 120, 1_800, 400
COMPLETE = "installed"


class InstallError(Exception):
    """What could not be done; the text says what to do."""


def run(*command: str | Path, limit_s: float = COMMAND_S, what: str) -> str:
    """Run a command to its end; its standard output. Raises `InstallError` with the end of what it said."""
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
    """`root` is `/`, or a folder that stands for it: then no user is made, and programs run as the caller."""

    def __init__(self, root: Path, systemctl: str = "systemctl") -> None:
        self.root = root
        self._systemctl = systemctl
        self.is_real = root == Path("/")
        self.has_manager = (root / "run/systemd/system").is_dir()
        """Whether a service manager runs: not in a chroot, nor while an image is made."""

    def path(self, place: PurePosixPath | str) -> Path:
        """A place below the root."""
        return self.root / place

    # --- versions ---------------------------------------------------------------------------------------------------

    def version(self, name: str) -> Path:
        """Its folder."""
        return self.path(OPT / "versions" / name)

    def versions(self) -> list[str]:
        """All that are there, complete or not."""
        folder = self.path(OPT / "versions")
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def is_complete(self, name: str) -> bool:
        """Whether its environment was built to the end."""
        return (self.version(name) / COMPLETE).is_file()

    def linked(self, link: str) -> str | None:
        """The version that `current` or `previous` leads to."""
        path = self.path(OPT / link)
        return path.readlink().name if path.is_symlink() else None

    def link(self, link: str, name: str | None) -> None:
        """Lead `current` or `previous` to a version, at once; None removes the link."""
        path = self.path(OPT / link)
        if name is None:
            path.unlink(missing_ok=True)
            return
        new = path.with_name(f".{link}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions") / name)
        os.replace(new, path)

    def build(self, name: str, sources: Path, extras: Sequence[str]) -> None:
        """A virtual environment with the sources, and the units that belong to them. Raises `InstallError`."""
        folder, wheels = self.version(name), self.path(OPT / "wheels")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "venv", folder, what="making the environment")
        pip = (folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input")
        if "edge" in extras and not list(wheels.glob(f"[Pp]y[Aa]udio-*-cp{sys.version_info.major}{sys.version_info.minor}-*.whl")):
            run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, "pyaudio>=0.2.14,<0.3", limit_s=BUILD_S, what="compiling PyAudio")
        wanted = f"{sources}[{','.join(extras)}]"
        run(*pip, "install", "--find-links", wheels, wanted, limit_s=BUILD_S, what="installing the release with pip")
        (folder / "units").mkdir()
        for unit in (sources / "system").glob("*.service"):
            shutil.copy(unit, folder / "units")
        (folder / COMPLETE).write_text(f"{name}\n", encoding="ascii")

    def remove_version(self, name: str) -> None:
        """Delete it."""
        shutil.rmtree(self.version(name), ignore_errors=True)

    def self_test(self, name: str, role: Role) -> None:
        """Try the release as the user that will run it. Raises `InstallError` with the parts that failed."""
        program = self.version(name) / "bin/edge-client"
        as_user = ("setpriv", f"--reuid={role.user}", f"--regid={role.user}", "--init-groups") if self.is_real else ()
        environment = ("env", "-i", f"PATH={os.environ.get('PATH', os.defpath)}", "LC_ALL=C.UTF-8")
        failure = "the new release failed its self-test, and nothing was changed"
        run(*as_user, *environment, program, "self-test", limit_s=SELF_TEST_S, what=failure)

    # --- users, settings, commands ----------------------------------------------------------------------------------

    def need_user(self, role: Role) -> None:
        """A system user without home or shell, in those of its groups that this machine has."""
        if not self.is_real:
            return
        try:
            pwd.getpwnam(role.user)
        except KeyError:
            shell = "/usr/sbin/nologin"
            run("useradd", "--system", "--user-group", "--home-dir", "/nonexistent", "--shell", shell, role.user, what="making the user")
        groups = [group.gr_name for group in grp.getgrall() if group.gr_name in role.groups and role.user not in group.gr_mem]
        if groups:
            run("usermod", "--append", "--groups", ",".join(groups), role.user, what="putting the user into its groups")

    def read_settings(self, role: Role) -> str | None:
        """The file's text; None if there is none."""
        path = self.path(SETTINGS / role.settings)
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write_settings(self, role: Role, text: str) -> None:
        """Replace the file as a whole. Everybody may read it: it names files with secrets, and holds none."""
        path = self.path(SETTINGS / role.settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        os.replace(new, path)

    def link_commands(self, role: Role) -> None:
        """The programs of the running version in /usr/local/bin."""
        for name in role.commands:
            path = self.path(BIN / name)
            target = Path("/") / OPT / "current/bin" / name
            if path.is_symlink() or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.symlink_to(target)

    # --- services ---------------------------------------------------------------------------------------------------

    def is_wanted(self, role: Role) -> bool:
        """Whether the service is to run: it is new, or nobody has disabled it."""
        if not self.path(UNITS / role.unit).is_file():
            return True
        try:
            return self.systemctl("is-enabled", role.unit).strip() == "enabled"
        except InstallError:
            return False

    def put_unit(self, name: str, role: Role) -> bool:
        """The unit that belongs to a version, in place; whether it is another one than before."""
        text = (self.version(name) / "units" / role.unit).read_text(encoding="utf-8")
        path = self.path(UNITS / role.unit)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return True

    def systemctl(self, *arguments: str) -> str:
        """Ask the service manager. Raises `InstallError`."""
        return run(self._systemctl, *arguments, what=f"systemctl {' '.join(arguments)}")

    def service(self, role: Role) -> ServiceState:
        """How a service stands."""
        said = self.systemctl("show", "-p", "ActiveState", "-p", "SubState", "-p", "NRestarts", "-p", "StatusText", role.unit)
        found = dict(line.partition("=")[::2] for line in said.splitlines())
        restarts = found.get("NRestarts", "0")
        return ServiceState(
            found.get("ActiveState", ""), found.get("SubState", ""), int(restarts) if restarts.isdigit() else 0, found.get("StatusText", "")
        )

    def remove(self, roles: Sequence[Role], *, purge: bool) -> None:
        """Stop and delete everything but settings and state; with `purge` these and the users too."""
        for role in roles:
            if self.has_manager:
                self.systemctl("disable", "--now", role.unit)
            self.path(UNITS / role.unit).unlink(missing_ok=True)
            for name in role.commands:
                if self.path(BIN / name).is_symlink():
                    self.path(BIN / name).unlink()
        if self.has_manager:
            self.systemctl("daemon-reload")
        shutil.rmtree(self.path(OPT), ignore_errors=True)
        if not purge:
            return
        shutil.rmtree(self.path(SETTINGS), ignore_errors=True)
        for role in roles:
            for folder in role.folders:
                shutil.rmtree(self.path("var") / folder, ignore_errors=True)
            if self.is_real and any(user.pw_name == role.user for user in pwd.getpwall()):
                run("userdel", role.user, what="deleting the user")
