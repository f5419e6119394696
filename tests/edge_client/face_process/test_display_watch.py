"""The drawing process ends with its display, whatever its driver does."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from edge_client.face_process.display_watch import connections

CHILD = """
import socket, sys, time
from edge_client.face_process.display_watch import watch_display
display = socket.socket(socket.AF_UNIX)
display.connect(sys.argv[1])
watch_display()
print("watching", flush=True)
while True:
    pass
"""


def test_a_process_that_spins_ends_with_its_display(tmp_path: Path) -> None:
    """The process ends as soon as the display closes the connection; not before."""
    folder = tmp_path / ".X11-unix"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as display:
        display.bind(str(folder / "X1"))
        display.listen()
        with subprocess.Popen([sys.executable, "-c", CHILD, str(folder / "X1")], stdout=subprocess.PIPE) as child:
            connection, _ = display.accept()
            assert child.stdout is not None
            assert child.stdout.readline() == b"watching\n"
            assert child.poll() is None
            connection.close()
            assert child.wait(10) == 1


def test_other_connections_are_not_watched(tmp_path: Path) -> None:
    """Connections not watched: the channel to the parent, and sockets of other services."""
    with socket.socket(socket.AF_UNIX) as service, socket.socket(socket.AF_UNIX) as client:
        service.bind(str(tmp_path / "service"))
        service.listen()
        client.connect(str(tmp_path / "service"))
        assert client.fileno() not in connections()
