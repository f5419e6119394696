"""Two counters that a child writes and its parent reads at any time, even when the child hangs or has ended."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from edge_client.children.supervision import Signs

_COUNTERS = struct.Struct("<QQ")


class Pulse:
    """A view of the counters; both sides open one. Only the child writes, each counter from one thread."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory of a descriptor, which the caller still closes."""
        self._memory = mmap.mmap(descriptor, _COUNTERS.size)
        self._words = memoryview(self._memory).cast("Q")

    def beat(self) -> None:
        """Count a sign of life."""
        self._words[0] += 1

    def progress(self) -> None:
        """Count a unit of the child's actual work: a picture, a callback."""
        self._words[1] += 1

    def signs(self) -> Signs:
        """The counters."""
        return Signs(self._words[0], self._words[1])

    def close(self) -> None:
        """Unmap the memory."""
        self._words.release()
        self._memory.close()


def create_pulse() -> int:
    """The descriptor of new counters. Raises `OSError`."""
    descriptor = os.memfd_create("avatar-relay-pulse", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _COUNTERS.size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return descriptor
