"""Gives freed memory back to the system.

glibc keeps memory that was freed between blocks still in use, separately for each of gRPC's threads. After many requests of some MB,
the process would stay large. `malloc_trim(3)` returns those pages. With another C library nothing is done.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

EVERY_S = 10.0
WORTH_BYTES = 16 << 20
"""Growth since the last time after which it is worth some milliseconds of a thread."""


class TrimPolicy:
    """When freed memory is given back. Pure."""

    def __init__(self) -> None:
        self._least: int | None = None

    def is_due(self, resident_bytes: int) -> bool:
        """Whether the process has grown enough; `resident_bytes` is its resident memory now."""
        if self._least is None:
            self._least = resident_bytes
        return resident_bytes >= self._least + WORTH_BYTES

    def trimmed(self, resident_bytes: int) -> None:
        """Memory was given back, and `resident_bytes` are left."""
        self._least = resident_bytes


def resident_bytes() -> int:
    """This process's resident memory. Raises `OSError`."""
    pages = Path("/proc/self/statm").read_bytes().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def find_trim() -> Callable[[], None] | None:
    """What gives freed memory back; None if the C library cannot."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda: trim(0)


async def give_back_memory(trim: Callable[[], None]) -> None:
    """Look every 10 s whether memory is to be given back, and do that in a thread. Runs until cancelled."""
    policy = TrimPolicy()
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            if policy.is_due(resident_bytes()):
                await asyncio.to_thread(trim)  # without the interpreter's lock
                policy.trimmed(resident_bytes())
        except OSError:  # /proc is not there, or no descriptor is free: later
            continue
