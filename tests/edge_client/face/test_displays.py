"""Finding displays, in folders and sockets of the test."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_client.face.displays import DesktopDisplay, desktop_displays


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of X and of run-time sockets; the second X socket has no listener, and the third has no number."""
    x11, runtime = tmp_path / "x11", tmp_path / "run" / str(os.getuid())
    x11.mkdir()
    runtime.mkdir(parents=True)
    with ExitStack() as stack:
        for path in (x11 / "X1", x11 / "X0", x11 / "Xtra", runtime / "wayland-0", runtime / "bus"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            if path.name != "X1":
                listener.listen()
        (x11 / "X7").touch()
        (runtime / "wayland-0.lock").touch()
        yield x11, tmp_path / "run"


def names(environment: dict[str, str], folders: tuple[Path, Path]) -> list[str]:
    """The displays found, by their last part."""
    found = desktop_displays(environment, x11_folder=folders[0], run_folder=folders[1])
    return [f"{display.driver} {display.name.rpartition('/')[2]}" for display in found]


def test_sockets_count_where_no_variable_names_a_display(folders: tuple[Path, Path]) -> None:
    """If variables name displays, only these are used."""
    assert names({}, folders) == ["wayland wayland-0", "x11 :0", "x11 :1"]
    assert names({"DISPLAY": ""}, folders) == ["wayland wayland-0", "x11 :0", "x11 :1"]
    assert names({"DISPLAY": ":1"}, folders) == ["x11 :1"]
    assert names({"DISPLAY": "far:2.0", "WAYLAND_DISPLAY": "wayland-9"}, folders) == ["x11 far:2.0", "wayland wayland-9"]
    assert names({"DISPLAY": "", "XDG_RUNTIME_DIR": "/nowhere"}, folders) == ["x11 :0", "x11 :1"]


def test_folders_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    """A machine without a desktop."""
    assert desktop_displays({}, x11_folder=tmp_path / "a", run_folder=tmp_path / "b") == []


def test_whether_a_display_answers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """A socket without a listener is a dead display; one that cannot be checked is assumed to work."""
    wayland, zero, one = desktop_displays({}, x11_folder=folders[0], run_folder=folders[1])
    assert [display.answers() for display in (wayland, zero, one)] == [True, True, False]
    (odd,) = desktop_displays({"DISPLAY": "/odd/path:0"}, x11_folder=tmp_path, run_folder=tmp_path)
    assert odd.answers()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert DesktopDisplay("x11", "there:0", addresses=(("127.0.0.1", port),)).answers()
    assert not DesktopDisplay("x11", "there:0", addresses=(("127.0.0.1", port),)).answers()


def test_a_display_brings_what_its_driver_reads(folders: tuple[Path, Path]) -> None:
    """For any environment of the program itself."""
    wayland, zero, _ = desktop_displays({}, x11_folder=folders[0], run_folder=folders[1])
    assert dict(zero.variables) == {"DISPLAY": ":0"}
    assert dict(wayland.variables) == {"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": str(folders[1] / str(os.getuid()))}
