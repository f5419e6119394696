"""The relay's program with a tap: on SIGUSR1 it writes its numbers of tasks and memory blocks to the file named by `TAP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from relay_server.cli import main

TAP = "TAPPED_RELAY_FILE"
"""Environment variable with the file's path."""


def _write(_number: int, _frame: object) -> None:
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:  # the loop is not running yet, or has stopped
        return
    path = Path(os.environ[TAP])
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{tasks} {sys.getallocatedblocks()}\n", encoding="ascii")
    fresh.replace(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _write)
    main()
