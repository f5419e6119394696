"""The built wheel: all that the sources hold and the stubs beside it, and extras that install what each program needs and no more."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHIPPED = ("relay_server", "edge_client", "proto/avatar_relay")


def run(*command: str | Path, cwd: Path = PROJECT_ROOT) -> str:
    """Run a command to its end; its output, also where it fails."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


@pytest.mark.parametrize(
    ("extra", "commands", "absent"),
    [
        ("relay", ("relay-server", "relayctl"), {"pyaudio", "pygame-ce", "pyopengl", "opuslib-next"}),
        ("edge", ("edge-client",), {"grpcio-reflection", "grpcio-health-checking", "grpcio-channelz", "soundfile", "grpcio-tools"}),
    ],
)
def test_extra_installs_what_its_program_needs_and_no_more(
    wheel: Path, tmp_path: Path, extra: str, commands: tuple[str, ...], absent: set[str]
) -> None:
    """In an environment of its own, away from the sources, each program of the extra starts and tells its options."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", f"{wheel}[{extra}]", cwd=tmp_path)
    for command in commands:
        assert "--help" in run(python.with_name(command), "--help", cwd=tmp_path)
    installed = {line.split("==")[0].lower() for line in run(python, "-m", "pip", "freeze", cwd=tmp_path).splitlines()}
    assert installed & absent == set()
