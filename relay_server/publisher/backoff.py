"""Waiting times between attempts to connect: exponential with full jitter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

FIRST_S = 0.1
EAGER_S = 0.5
"""At first no wait is longer: devices hold what they play for half a minute, and a relay that was restarted is found again
within a second."""
EAGER_TRIES = 120
"""… about that half minute, by waits of half the bound on average."""
LARGEST_S = 5.0


def full_jitter(jitter: Callable[[], float], first_s: float = FIRST_S) -> Iterator[float]:
    """Seconds to wait before each further attempt, without end: `jitter()`, from 0 to 1, of a bound that doubles from `first_s`.

    Full jitter, so that many publishers which lost the same relay do not come back together (the AWS architecture blog,
    "Exponential Backoff And Jitter", compares the kinds).
    """
    bound_s, tries = first_s, 0
    while True:
        yield bound_s * jitter()
        tries += 1
        bound_s = min(bound_s * 2, EAGER_S if tries < EAGER_TRIES else LARGEST_S)
