"""`relayctl`: inspect and control a relay's devices, and manage credentials, from a terminal.

Exit codes: 0 done; 1 refused by the relay (the reason is on standard error); 2 wrong usage, or a file on the command line cannot be used; 3
no relay answers; 130 interrupted from the keyboard.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from avatar_relay.command import errors_in_one_line, prepare_process
from avatar_relay.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, or exit with 2 or 130."""
    prepare_process(os.environ)
    with errors_in_one_line("relayctl", ConfigError, OSError):
        from relay_server.relayctl.commands import run  # late: importing gRPC takes time; an interrupt must not print a traceback

        return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
