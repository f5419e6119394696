"""Builds and installations: wheels with the stubs, also from read-only sources of another user; extras without excess packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHIPPED = ("relay_server", "edge_client", "proto/avatar_relay")
NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3")
"""The scripts' Python; another user cannot enter the environment of the tests."""


def run(*command: str | Path, cwd: Path = PROJECT_ROOT, environment: dict[str, str] | None = None, user: int | None = None) -> str:
    """Run a command, as `user` if given; return its output. Raises `AssertionError` with the output if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True)
class OtherUser:
    """A user with a home folder, beside a clone that this user can only read."""

    home: Path
    clone: Path

    def run(self, *command: str | Path) -> str:
        """Run a command in the home folder. Without root it is the same user, and the sources are read-only nevertheless."""
        user = NOBODY if os.geteuid() == 0 else None
        environment = {**os.environ, "HOME": str(self.home), "PIP_CACHE_DIR": str(self.home / "cache")}
        return run(*command, cwd=self.home, environment=environment, user=user)


@pytest.fixture(scope="module")
def other_user() -> Iterator[OtherUser]:
    """Outside pytest's own temporary folder, which no other user can enter."""
    with tempfile.TemporaryDirectory(prefix="avatar-relay-") as name:
        folder = Path(name)
        home, clone = folder / "home", folder / "clone"
        home.mkdir()
        run("git", "clone", "--quiet", "--no-hardlinks", PROJECT_ROOT, clone)
        run("chmod", "-R", "a+rX,a-w", clone)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        before = listing(clone)
        yield OtherUser(home, clone)
        assert listing(clone) == before
        run("chmod", "-R", "u+w", clone)


def listing(folder: Path) -> dict[str, int]:
    """Return all files below a folder, with their modification times."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, PROJECT_ROOT)
    (path,) = folder.glob("avatar_relay-*-py3-none-any.whl")
    return path


def test_wheel_holds_all_sources_and_stubs(wheel: Path) -> None:
    """Every committed file of the packages (assets, `py.typed`, .proto) and the generated modules; nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    committed = run("git", "ls-files", *SHIPPED).split()
    assert {name.removeprefix("proto/") for name in committed} - names == set()
    modules = [f"avatar_relay/v1/{name}" for name in ("media", "device_service", "publisher_service", "admin_service")]
    assert {f"{module}{suffix}" for module in modules for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"avatar_relay", "relay_server", "edge_client"}


def test_wheel_names_the_programs_and_the_licence(wheel: Path) -> None:
    """Three commands, and the licence text."""
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        parser = ConfigParser()
        parser.read_string(archive.read(points).decode())
        assert set(parser["console_scripts"]) == {"relay-server", "edge-client", "relayctl"}
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """The source distribution is complete."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path)
    (source,) = tmp_path.glob("avatar_relay-*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, source)
    (path,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(path).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize(
    ("extra", "commands", "absent"),
    [
        ("relay", ("relay-server", "relayctl"), {"pyaudio", "pygame-ce", "pyopengl"}),
        ("edge", ("edge-client",), {"grpcio-reflection", "grpcio-health-checking", "grpcio-channelz", "soundfile", "grpcio-tools"}),
    ],
)
def test_extra_installs_what_its_program_needs_and_no_more(
    other_user: OtherUser, extra: str, commands: tuple[str, ...], absent: set[str]
) -> None:
    """From a clone owned by another user, in a separate environment: each program of the extra starts."""
    bin_folder = other_user.home / extra / "bin"
    other_user.run(SYSTEM_PYTHON, "-m", "venv", bin_folder.parent)
    other_user.run(bin_folder / "pip", "install", f"{other_user.clone}[{extra}]")
    for command in commands:
        assert "--help" in other_user.run(bin_folder / command, "--help")
    installed = {line.split("==")[0].lower() for line in other_user.run(bin_folder / "pip", "freeze").splitlines()}
    assert installed & absent == set()
