"""The live members of the cluster, by their heartbeats. Pure."""

from __future__ import annotations

from relay_server.links.beats import SILENCE_US

MISSING_US = 40_000_000
"""How long a silent relay that did not announce its departure may still be running in a partition."""
CLAIM_US = 2_000_000
"""How long a relay that appears may take to claim its devices."""


class Members:
    """The other relays, by name."""

    def __init__(self) -> None:
        self._heard_us: dict[str, int] = {}
        self._appeared_us: dict[str, int] = {}
        """When each relay was heard for the first time, or again."""

    def heard(self, name: str, now_us: int) -> bool:
        """Note a heartbeat of a relay; return whether the relay is new."""
        is_new = name not in self.alive(now_us)
        self._heard_us[name] = now_us
        if is_new:
            self._appeared_us[name] = now_us
        return is_new

    def alive(self, now_us: int) -> tuple[str, ...]:
        """The relays heard recently, sorted."""
        for name in [name for name, heard_us in self._heard_us.items() if now_us - heard_us >= MISSING_US]:
            self.left(name)
        return tuple(sorted(name for name, heard_us in self._heard_us.items() if now_us - heard_us < SILENCE_US))

    def missing(self, now_us: int) -> bool:
        """Whether a relay fell silent within `MISSING_US` without announcing its departure."""
        return len(self.alive(now_us)) < len(self._heard_us)

    def all_told(self, since_us: int, now_us: int) -> bool:
        """Whether every relay was heard since then, and has claimed its devices: then no relay has a device that is not found."""
        return not self.missing(now_us) and all(
            heard_us >= since_us and now_us - self._appeared_us[name] >= CLAIM_US for name, heard_us in self._heard_us.items()
        )

    def left(self, name: str) -> None:
        """Remove a relay that announced its departure."""
        self._heard_us.pop(name, None)
        self._appeared_us.pop(name, None)
