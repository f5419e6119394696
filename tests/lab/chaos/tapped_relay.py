"""The relay's program with a tap: at SIGUSR1 it writes how many tasks and blocks of memory it has into the file of `TAP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from relay_server.cli import main

TAP = "TAPPED_RELAY_FILE"
"""Variable with the path of the file."""


def _write(_number: int, _frame: object) -> None:
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:  # the loop does not run yet, or any more
        return
    path = Path(os.environ[TAP])
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{tasks} {sys.getallocatedblocks()}\n", encoding="ascii")
    fresh.replace(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _write)
    main()
