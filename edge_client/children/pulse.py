"""Two counters that a child writes and its parent reads at any time, also when the child hangs or is gone."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from edge_client.children.supervision import Signs

_COUNTERS = struct.Struct("<QQ")


class Pulse:
    """A view of the counters; both sides open one. The child alone writes, each counter from one thread."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor, which stays the caller's to close."""
        self._memory = mmap.mmap(descriptor, _COUNTERS.size)
        self._words = memoryview(self._memory).cast("Q")

    def beat(self) -> None:
        """The child lives."""
        self._words[0] += 1

    def progress(self) -> None:
        """The child did what it is for: a picture, a callback."""
        self._words[1] += 1

    def signs(self) -> Signs:
        """What was counted."""
        return Signs(self._words[0], self._words[1])

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._memory.close()


def create_pulse() -> int:
    """The descriptor of new counters. Raises OSError."""
    descriptor = os.memfd_create("avatar-relay-pulse", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _COUNTERS.size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return descriptor
