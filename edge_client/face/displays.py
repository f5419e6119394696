"""The desktops that could show the face: those named by environment variables, else those whose sockets exist.

A program started at boot has no such variables, and finds a display by its socket as soon as that exists. A display that a variable names
is what the user chose, and no other replaces it.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

X11_FOLDER, RUN_FOLDER = Path("/tmp/.X11-unix"), Path("/run/user")
_ANSWER_S = 0.5
_X_DISPLAY = re.compile(r"(?P<host>[\w.-]*):(?P<number>\d{1,5})(\.\d+)?")
_X_PORT = 6_000


@dataclass(frozen=True, slots=True)
class DesktopDisplay:
    """An X or Wayland display."""

    driver: str
    """SDL's name for this kind of display."""
    name: str
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables from which SDL's driver finds it."""
    addresses: tuple[str | tuple[str, int], ...] = ()
    """Addresses to probe: paths of sockets (abstract ones begin with NUL), or host and port; empty if unknown."""

    def answers(self) -> bool:
        """Whether something listens on an address, a cheap check; True if unknown."""
        return not self.addresses or any(_connects(address) for address in self.addresses)


def desktop_displays(
    environment: Mapping[str, str], *, x11_folder: Path = X11_FOLDER, run_folder: Path = RUN_FOLDER
) -> list[DesktopDisplay]:
    """List all displays to try, best first. Sockets of other users are ignored."""
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or run_folder / str(os.getuid()))
    found: list[DesktopDisplay] = []
    if name := environment.get("DISPLAY"):
        found.append(_x_display(name, x11_folder))
    if name := environment.get("WAYLAND_DISPLAY"):
        found.append(_wayland_display(runtime / name))
    if not found:
        found += [_wayland_display(path) for path in _sockets(runtime, r"wayland-\d+")]
        found += [_x_display(f":{path.name[1:]}", x11_folder) for path in _sockets(x11_folder, r"X\d+")]
    return found


def _sockets(folder: Path, name: str) -> list[Path]:
    """Sockets owned by this user or by root, sorted."""
    found = []
    try:
        for path in sorted(folder.iterdir()):
            state = path.stat()
            if re.fullmatch(name, path.name) and stat.S_ISSOCK(state.st_mode) and state.st_uid in (0, os.getuid()):
                found.append(path)
    except OSError:
        pass  # no such folder, or the socket has just disappeared
    return found


def _x_display(name: str, folder: Path) -> DesktopDisplay:
    known = _X_DISPLAY.fullmatch(name)
    addresses: tuple[str | tuple[str, int], ...] = ()
    if known is not None and known["host"] in ("", "unix"):
        path = str(folder / f"X{known['number']}")
        addresses = (path, f"\0{path}")
    elif known is not None:
        addresses = ((known["host"], _X_PORT + int(known["number"])),)
    return DesktopDisplay("x11", name, (("DISPLAY", name),), addresses)


def _wayland_display(path: Path) -> DesktopDisplay:
    variables = (("WAYLAND_DISPLAY", path.name), ("XDG_RUNTIME_DIR", str(path.parent)))
    return DesktopDisplay("wayland", str(path), variables, (str(path),))


def _connects(address: str | tuple[str, int]) -> bool:
    try:
        if isinstance(address, tuple):
            socket.create_connection(address, _ANSWER_S).close()
        else:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(_ANSWER_S)
                asked.connect(address)
    except OSError:
        return False
    return True
