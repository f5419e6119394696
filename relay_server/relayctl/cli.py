"""`relayctl`: inspect and control a relay's devices, and manage credentials, from a terminal.

Exit codes: 0 done; 1 the relay refused (its reason is on standard error); 2 the command line cannot be understood, or a file
that it names cannot be used; 3 no relay answers; 130 interrupted from the keyboard.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from avatar_relay.command import errors_in_one_line, prepare_process
from avatar_relay.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, or exits with 2 or 130."""
    prepare_process(os.environ)
    with errors_in_one_line("relayctl", ConfigError, OSError):
        from relay_server.relayctl.commands import run  # late: gRPC takes its time, and an interrupt within it is no traceback

        return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
