"""Waiting times between attempts to connect: exponential with full jitter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

FIRST_S = 0.1
LARGEST_S = 5.0


def full_jitter(jitter: Callable[[], float], first_s: float = FIRST_S, largest_s: float = LARGEST_S) -> Iterator[float]:
    """Seconds to wait before each further attempt, without end: `jitter()`, from 0 to 1, of a bound that doubles.

    Full jitter, so that many publishers which lost the same relay do not come back together (the AWS architecture blog,
    "Exponential Backoff And Jitter", compares the kinds).
    """
    bound_s = first_s
    while True:
        yield bound_s * jitter()
        bound_s = min(bound_s * 2, largest_s)
