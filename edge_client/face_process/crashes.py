"""Which renderers have crashed so often that another one should draw. Pure: time is an argument."""

from __future__ import annotations

CRASHES = 2
FORGOTTEN_US = 3_600_000_000
"""An hour: a driver that crashes once a week is no reason for the vector face."""


class Crashes:
    """Counts the crashes of each kind of renderer. Not thread-safe."""

    def __init__(self) -> None:
        self._times_us: dict[str, list[int]] = {}

    def crashed(self, kind: str, now_us: int) -> None:
        """Count a crash: a renderer of this kind ended its process, or hung."""
        self._times_us[kind] = [*self._times_us.get(kind, [])[1 - CRASHES :], now_us]

    def avoided(self, now_us: int) -> frozenset[str]:
        """Return the kinds that crashed `CRASHES` times within `FORGOTTEN_US`."""
        return frozenset(kind for kind, times in self._times_us.items() if len(times) >= CRASHES and now_us - times[0] < FORGOTTEN_US)
