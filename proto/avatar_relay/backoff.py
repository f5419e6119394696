"""Time limits of attempts to connect to the relay, and the waits between them: exponential with full jitter.

Rules
1. A first attempt without `welcome` within `WELCOME_S` was lost on the way, or the relay is too busy for it. Each further attempt
   after such a one gets half as long again, up to the time after which a peer counts as dead.
2. A stream that was welcomed resets both. The waits restart from the shortest if the stream lasted `STABLE_US`, else from
   `eager_s`: a relay that accepts streams and crashes is not hammered, and not left alone for long either.
3. In the first half minute no wait is longer than `eager_s`: devices hold about that much media, and the relay keeps their sessions.
4. No wait is shorter than the relay asks for (`asked_to_wait_s`), nor, after the first half minute, than `FOREIGN_REFUSAL_S` if a proxy
   answers instead of the relay: its route may not exist yet, but nobody is waiting for it any more.

Full jitter draws each wait evenly between 0 and a bound that grows with every failure, so that many clients that lost the same relay do not
return together (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

A half-open link in the worst case: detected after `PEER_TIMEOUT_US` and a check interval (4.25 s), the first wait (0.1 s), an attempt that
is lost as well (1.5 s), the second wait (0.2 s): connected again after 6.1 s and the handshake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from avatar_relay.limits import PEER_TIMEOUT_US

FINAL_CODES = frozenset(
    {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE"}
)
"""gRPC statuses that are the same on every attempt. All others are worth a retry."""

FOREIGN_REFUSAL_S = 30.0
"""Minimum wait after a refusal that is not the relay's."""

_GATEWAY = re.compile(r"http2 header with status: 50\d|END_STREAM flag received")
"""gRPC's text for the answer of a proxy that reaches no relay, and for an error page whose HTTP status it did not read."""

MAX_HINT_S = 300.0
"""Bound of a relay's hint: a wrong one must not silence a client for days."""

WELCOME_S = 1.5
WELCOME_GROWTH = 1.5
STABLE_US = 1_000_000


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Bounds of the waits in seconds: the first one, and the growth factor."""

    first_s: float = 0.1
    largest_s: float = 5.0
    growth: float = 2.0
    eager_s: float = 0.5
    """The largest bound for the first `eager_tries` waits …"""
    eager_tries: int = 120
    """… which take half a minute, at half the bound on average."""


PUBLISHER_BACKOFF = BackoffPolicy()
DEVICE_BACKOFF = BackoffPolicy(growth=1.5)
"""With 1.5 the next wait is about as long as all before it together: after an outage of a second the relay is found within the next one."""


class Attempts:
    """One client's attempts. Pure; `jitter` returns a number from 0 to 1."""

    def __init__(self, policy: BackoffPolicy, jitter: Callable[[], float]) -> None:
        self._policy = policy
        self._jitter = jitter
        self._waits_s = full_jitter(policy, jitter)
        self._tries = 0
        self.within_s = WELCOME_S
        """Time limit of the next attempt, for connection and `welcome` together."""

    def unanswered(self) -> None:
        """An attempt got no answer in time."""
        self.within_s = min(self.within_s * WELCOME_GROWTH, PEER_TIMEOUT_US / 1e6)

    def welcomed(self) -> None:
        """An attempt was answered."""
        self.within_s = WELCOME_S

    def lost(self, lasted_us: int) -> None:
        """A stream that was welcomed ended."""
        first_s = self._policy.first_s if lasted_us >= STABLE_US else min(self._policy.eager_s, self._policy.largest_s)
        self._waits_s = full_jitter(replace(self._policy, first_s=first_s), self._jitter)
        self._tries = 0

    @property
    def is_eager(self) -> bool:
        """Whether this is the first half minute (rule 3)."""
        return self._tries < self._policy.eager_tries

    def wait_s(self) -> float:
        """The wait before the next attempt, in seconds."""
        self._tries += 1
        return next(self._waits_s)


def is_foreign(code: str, text: str) -> bool:
    """Whether a status (by name), received without a fault and before `welcome`, is from a proxy instead of the relay."""
    return code in FINAL_CODES or _GATEWAY.search(text) is not None


def asked_to_wait_s(*hints_ms: int) -> float:
    """The longest of a relay's hints (`RetryInfo`, `goaway`) in seconds, at most `MAX_HINT_S`."""
    return min(max((0, *hints_ms)) / 1_000, MAX_HINT_S)


def full_jitter(policy: BackoffPolicy, jitter: Callable[[], float]) -> Iterator[float]:
    """Endless waits in seconds: `jitter()`, from 0 to 1, times a growing bound."""
    bound_s, tries = policy.first_s, 0
    while True:
        yield bound_s * jitter()
        tries += 1
        bound_s = min(bound_s * policy.growth, policy.largest_s, policy.eager_s if tries < policy.eager_tries else policy.largest_s)
