"""Strangers at a relay's port for links: `python -m tests.relay_server.links.flooder HOST PORT KIND COUNT`, until killed.

Opens COUNT connections, and each again as soon as it has ended. Prints a line once so many have been begun.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

from tests.lab.attack import tls

BYTE = b"\xc8"
"""As if a long name followed."""

FIRST = {
    "silent": b"",
    "one byte": BYTE,
    "garbage": os.urandom(4_096),
    "64 KiB": bytes(1 << 16),
    "TLS hello": tls.hello(),
    "half a TLS hello": tls.hello()[:50],
    "slow": BYTE,
    "half-closed": b"",
}
"""What a connection of each kind sends first. A slow one sends a byte again and again."""


def main(host: str, port: int, kind: str, count: int) -> None:
    """Flood."""
    poll, connections, said, next_s = select.epoll(), dict[int, socket.socket](), False, 0.0
    while True:
        while len(connections) < count:
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((host, port))
            connections[one.fileno()] = one
            poll.register(one, select.EPOLLIN | select.EPOLLOUT)
        if not said:
            said = True
            sys.stdout.write("flooding\n")
            sys.stdout.flush()
        for number, events in poll.poll(0.01):
            one = connections[number]
            try:
                if events & select.EPOLLOUT:
                    poll.modify(one, select.EPOLLIN)
                    one.send(FIRST[kind])
                    if kind == "half-closed":
                        one.shutdown(socket.SHUT_WR)
                ended = events & select.EPOLLIN and not one.recv(1 << 12)
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                del connections[number]
                one.close()
        if kind == "slow" and time.monotonic() > next_s:
            next_s = time.monotonic() + 0.05
            for one in connections.values():
                try:
                    one.send(BYTE)
                except OSError:
                    continue


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
