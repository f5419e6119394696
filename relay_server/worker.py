"""A worker: a relay started by a supervisor as `python -m relay_server.worker FLAGS`, with its assignment on standard input."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

from avatar_relay.command import errors_in_one_line, prepare_process
from avatar_relay.errors import ConfigError
from relay_server.cli import build_parser, load_config, run_relay
from relay_server.workers.assignment import decode_assignment

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run the worker; it is killed when its supervisor ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with errors_in_one_line("relay-server", ConfigError, OSError):
        prepare_process(os.environ)
        assignment = decode_assignment(sys.stdin.buffer.read())
        if os.getppid() != assignment.supervisor:  # the supervisor ended before prctl took effect
            return
        config = assignment.of(load_config(build_parser().parse_args(), os.environ))
        threading.current_thread().name = f"worker-{assignment.number}"  # its name in the log
        run_relay(config)


if __name__ == "__main__":
    main()
