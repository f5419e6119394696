"""How long to wait before the next try: exponential backoff with full jitter.

Full jitter draws each wait evenly from 0 up to a ceiling that grows with every failure. Of all the usual variants it
spreads a crowd of devices that lost the same relay at the same instant the best (Marc Brooker, "Exponential Backoff
And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Ceilings of the waits, in seconds."""

    first_ceiling_s: float = 0.1
    """The first wait lies below this."""
    last_ceiling_s: float = 5.0
    """No ceiling grows beyond this."""
    factor: float = 1.5
    """Each ceiling is the last one times this. With 1.5 the next wait is about as long as all before it together: a relay
    that was away for a second is found again within the next one."""
    eager_ceiling_s: float = 0.5
    """Beyond this they grow only after `eager_tries`: what is held plays on meanwhile, and a relay keeps a session …"""
    eager_tries: int = 120
    """… for half a minute, which is about so many waits."""

    def __post_init__(self) -> None:
        if not 0 < self.first_ceiling_s <= self.last_ceiling_s or self.factor < 1:
            raise ValueError(f"ceilings must be above 0 and grow, got {self}")

    def without_short_waits(self) -> Self:
        """For a relay that takes devices and falls over at once: not hammered, but not left for long either."""
        return replace(self, first_ceiling_s=min(self.eager_ceiling_s, self.last_ceiling_s))


def full_jitter(policy: BackoffPolicy, uniform: Callable[[], float]) -> Iterator[float]:
    """Waits in seconds, without end. `uniform` draws from [0, 1): `random.random`, or a fake."""
    ceiling_s, tries = policy.first_ceiling_s, 0
    while True:
        yield uniform() * ceiling_s
        tries += 1
        bound_s = policy.last_ceiling_s if tries >= policy.eager_tries else min(policy.eager_ceiling_s, policy.last_ceiling_s)
        ceiling_s = min(bound_s, ceiling_s * policy.factor)
