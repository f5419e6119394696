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
"""What the names of displays' sockets have in them."""
GRACE_S = 0.3
"""A child that notices by itself leaves in its own words meanwhile."""


def watch_display() -> None:
    """Begin to watch this process's connections to displays, in a thread. Call it when the renderer is open."""
    if descriptors := connections():
        threading.Thread(target=_watch, args=(descriptors,), name="display", daemon=True).start()


def connections() -> list[int]:
    """Descriptors of this process that are connected to the socket of a display on this machine."""
    return [descriptor for descriptor in map(int, os.listdir("/proc/self/fd")) if any(name in _peer(descriptor) for name in DISPLAYS)]


def _peer(descriptor: int) -> str:
    """The name of the local socket that it is connected to; empty for anything else."""
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
        poll.register(descriptor, 0)  # only hang-ups and errors: what is received is the display library's
    poll.poll()
    time.sleep(GRACE_S)
    os._exit(1)
