"""How long an attempt to connect may take, and how long to wait for the next one: exponential with full jitter.

Rules
1. A first attempt that gets no `welcome` for `WELCOME_S` fell into a hole, or came to a relay that is too busy for it: each
   further one that follows such a one gets half as long again, up to the time after which a peer counts as dead.
2. A stream that was welcomed begins both anew: the waits from the shortest where it lasted `STABLE_US`, else from `EAGER_S`, so
   that a relay that takes publishers and falls over is not hammered, and not left for long either.
A half-open line at the worst: found after `PEER_TIMEOUT_US`, by either end, and a step of the relay (4.25 s), the first wait
(0.1 s), an attempt that falls into the same hole (1.5 s), the second wait (0.2 s): back after 6.1 s and what the handshake takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from avatar_relay.limits import PEER_TIMEOUT_US

FIRST_S = 0.1
EAGER_S = 0.5
"""At first no wait is longer: devices hold what they play for half a minute, and a relay that was restarted is found again
within a second."""
EAGER_TRIES = 120
"""… about that half minute, by waits of half the bound on average."""
LARGEST_S = 5.0
WELCOME_S = 1.5
WELCOME_GROWTH = 1.5
STABLE_US = 1_000_000


class Attempts:
    """One publisher's attempts. Pure; `jitter` is from 0 to 1."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._waits_s = full_jitter(jitter)
        self.within_s = WELCOME_S
        """How long the next one may take, connection and `welcome` together."""

    def unanswered(self) -> None:
        """One got no answer in time."""
        self.within_s = min(self.within_s * WELCOME_GROWTH, PEER_TIMEOUT_US / 1e6)

    def welcomed(self) -> None:
        """One was answered."""
        self.within_s = WELCOME_S

    def lost(self, lasted_us: int) -> None:
        """A stream that was welcomed ended."""
        self._waits_s = full_jitter(self._jitter, FIRST_S if lasted_us >= STABLE_US else EAGER_S)

    def wait_s(self) -> float:
        """How long to wait for the next one."""
        return next(self._waits_s)


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
