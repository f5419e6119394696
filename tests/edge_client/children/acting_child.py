"""A child process that behaves as its argument says. It first sends its pid, then performs the action."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from edge_client.children.inside import Parent, begin


def work(parent: Parent) -> None:
    """Make progress until the channel is closed."""
    parent.channel.settimeout(0.05)
    while True:
        parent.pulse.progress()
        try:
            if not parent.channel.recv(100):
                return
        except TimeoutError:
            pass


def idle(parent: Parent) -> None:
    """Run without progress, and ignore the request to end."""
    time.sleep(60)


def stop(parent: Parent) -> None:
    """Make progress, then stop with SIGSTOP."""
    parent.pulse.progress()
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGSTOP)


def crash(parent: Parent) -> None:
    """Abort like a faulty driver, with output."""
    sys.stderr.write("assertion failed in the driver\n")
    sys.stderr.flush()
    os.abort()


def flood(parent: Parent) -> None:
    """Write 20 MB to standard error, then work."""
    for _ in range(200):
        try:
            os.write(2, b"x" * 99_999 + b"\n")
        except OSError:
            time.sleep(0.001)
    work(parent)


def tell(parent: Parent) -> None:
    """Report inherited state."""
    told = {
        "environment": dict(os.environ),
        "ignores": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "blocks": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "arguments": parent.arguments,
    }
    parent.channel.send(json.dumps(told).encode())
    work(parent)


if __name__ == "__main__":
    this = begin(sys.argv[1:])
    this.channel.send(str(os.getpid()).encode())
    {act.__name__: act for act in (work, idle, stop, crash, flood, tell)}[this.arguments[-1]](this)
