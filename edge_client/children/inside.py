"""The child's own side: its first steps."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass

from edge_client.children.pulse import Pulse

BEAT_S = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The child's connection to its parent, and the remaining arguments."""

    channel: socket.socket
    pulse: Pulse
    arguments: list[str]


def begin(arguments: list[str]) -> Parent:
    """Open the descriptors of the command line; from now on the process ignores SIGINT, dies with its parent, and beats.

    Call it once, first, on the main thread. The beats come from a separate thread, so they stop with the process, or when a call holds the
    interpreter. Raises `ValueError` and `OSError` for descriptors that were not inherited.
    """
    channel = socket.socket(fileno=int(arguments[0]))
    pulse = Pulse(int(arguments[1]))
    os.close(int(arguments[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if _is_orphan(channel):
        os._exit(1)
    threading.Thread(target=_beat, args=(pulse,), name="heartbeat", daemon=True).start()
    return Parent(channel, pulse, arguments[2:])


def _is_orphan(channel: socket.socket) -> bool:
    """Whether the parent ended before the process could be set to die with it."""
    try:
        return channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        time.sleep(BEAT_S)
