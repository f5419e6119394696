"""The live members of the cluster, by their heartbeats. Pure."""

from __future__ import annotations

from relay_server.links.beats import SILENCE_US

MISSING_US = 40_000_000
"""How long a silent relay that did not announce its departure may still be running in a partition."""


class Members:
    """The other relays, by name."""

    def __init__(self) -> None:
        self._heard_us: dict[str, int] = {}

    def heard(self, name: str, now_us: int) -> bool:
        """Note a heartbeat of a relay; return whether the relay is new."""
        is_new = name not in self.alive(now_us)
        self._heard_us[name] = now_us
        return is_new

    def alive(self, now_us: int) -> tuple[str, ...]:
        """The relays heard recently, sorted."""
        self._heard_us = {name: heard_us for name, heard_us in self._heard_us.items() if now_us - heard_us < MISSING_US}
        return tuple(sorted(name for name, heard_us in self._heard_us.items() if now_us - heard_us < SILENCE_US))

    def missing(self, now_us: int) -> bool:
        """Whether a relay fell silent within `MISSING_US` without announcing its departure."""
        return len(self.alive(now_us)) < len(self._heard_us)

    def left(self, name: str) -> None:
        """Remove a relay that announced its departure."""
        self._heard_us.pop(name, None)
