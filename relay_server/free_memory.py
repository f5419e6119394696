"""Returns freed memory to the system.

glibc keeps freed memory between blocks in use, separately for each of gRPC's threads. After many requests of several MB,
the process would stay large. `malloc_trim(3)` returns those pages. Does nothing with another C library.

glibc also raises its own thresholds: once a block of several MB was freed, blocks of up to that size come from the heaps, and twice
as much free memory is kept at the end of each. `use_small_heaps` fixes both thresholds, and limits the number of heaps.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERY_S = 10.0
WORTH_BYTES = 16 << 20
"""Growth since the last trim that justifies another one, which takes a thread some milliseconds."""


MALLOPT = {"M_MMAP_THRESHOLD": (-3, 128 << 10), "M_TRIM_THRESHOLD": (-1, 1 << 20), "M_ARENA_MAX": (-8, 2)}
"""Options of mallopt(3), each with its number in glibc and its value. A block of at least M_MMAP_THRESHOLD bytes, glibc's initial value,
is its own mapping and is returned when it is freed. Media messages are joined to 64 KiB, so they stay below it."""


class TrimPolicy:
    """Decides when freed memory is returned. Pure."""

    def __init__(self) -> None:
        self._least: int | None = None

    def is_due(self, resident_bytes: int) -> bool:
        """Whether the process has grown enough since the first call; `resident_bytes` is its resident memory now."""
        if self._least is None:
            self._least = resident_bytes
        return resident_bytes >= self._least + WORTH_BYTES

    def trimmed(self, resident_bytes: int) -> None:
        """Record a trim; `resident_bytes` is the resident memory after it."""
        self._least = resident_bytes


def resident_bytes() -> int:
    """This process's resident memory in bytes. Raises `OSError`."""
    pages = Path("/proc/self/statm").read_bytes().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def find_trim() -> Callable[[], None] | None:
    """The function that returns freed memory; None if the C library has none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda: trim(0)


def use_small_heaps() -> bool:
    """Set `MALLOPT` for this process. Call it before threads start. Returns False, and changes nothing, without glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # musl has mallopt too, with other numbers
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return all([mallopt(number, value) == 1 for number, value in MALLOPT.values()])


async def give_back_memory(trim: Callable[[], None]) -> None:
    """At once and every `EVERY_S`, call `trim` in a thread if it is due. Runs until cancelled."""
    policy = TrimPolicy()
    while True:
        with suppress(OSError):  # /proc is missing, or no descriptor is free: retry later
            if policy.is_due(resident_bytes()):
                await asyncio.to_thread(trim)  # releases the GIL
                policy.trimmed(resident_bytes())
        await asyncio.sleep(EVERY_S)
