"""`scripts/install`: the installer without a virtual environment."""

from __future__ import annotations

import sys

from avatar_relay.installer.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="scripts/install", role="device"))
