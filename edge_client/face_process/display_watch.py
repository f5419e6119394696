"""Ends the process when the connection to its display breaks.

Nothing else does so in time: GL may spin in a broken connection forever (seen: Mesa in xcb), and Xlib's own exit may hang.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
import time

DISPLAYS = ("/.X11-unix/", "/wayland-")
"""Parts of the names of displays' sockets."""
GRACE_S = 0.3
"""Time for a child that notices the break itself to report its own reason and end."""


def watch_display() -> None:
    """Start a thread that watches this process's connections to displays. Call it when the renderer is open."""
    if descriptors := connections():
        threading.Thread(target=_watch, args=(descriptors,), name="display", daemon=True).start()


def connections() -> list[int]:
    """List this process's descriptors that are connected to the socket of a display on this machine."""
    return [descriptor for descriptor in map(int, os.listdir("/proc/self/fd")) if any(name in _peer(descriptor) for name in DISPLAYS)]


def _peer(descriptor: int) -> str:
    """Name of the local socket to which a descriptor is connected; empty for anything else."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return ""
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            peer = copy.getpeername()
    except OSError:
        return ""
    return os.fsdecode(peer) if isinstance(peer, str | bytes) else ""


def _watch(descriptors: list[int]) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, 0)  # only hang-ups and errors: received data belongs to the display library
    poll.poll()
    time.sleep(GRACE_S)
    os._exit(1)
