"""Numbers of a client's streams: they show which of two streams is newer, whichever `hello` arrives first. Pure.

A client that gives up a stream cannot recall its `hello`: it may arrive when a newer stream is open, perhaps at another relay. The upper 32
bits of a number are drawn once for each run of the program, and the lower ones count its streams from 1. Numbers of different runs, and 0,
cannot be compared: then the stream that arrives last is taken to be the newer one.
"""

from __future__ import annotations

_COUNT_BITS = 32


class StreamNumbers:
    """Numbers the streams of one run of a program."""

    def __init__(self, run: bytes) -> None:
        """`run`: four random bytes."""
        self._last = int.from_bytes(run, "big") << _COUNT_BITS

    def next(self) -> int:
        """The number of a new stream."""
        self._last += 1
        return self._last


def is_newer(one: int, other: int) -> bool:
    """Whether stream `one` is known to be newer than stream `other`."""
    return one > other > 0 and one >> _COUNT_BITS == other >> _COUNT_BITS
