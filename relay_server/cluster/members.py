"""Who is in the cluster, as far as is heard. Pure."""

from __future__ import annotations

BEAT_US = 500_000
"""Relays and both ends of each tunnel say something at least this often."""
SILENCE_US = 1_600_000
"""One that says nothing for so long is gone: three beats and some delay."""


class Members:
    """The other relays, by name."""

    def __init__(self) -> None:
        self._heard_us: dict[str, int] = {}

    def heard(self, name: str, now_us: int) -> bool:
        """A relay said that it is there; returns whether that is news."""
        is_new = name not in self.alive(now_us)
        self._heard_us[name] = now_us
        return is_new

    def alive(self, now_us: int) -> tuple[str, ...]:
        """Those that were heard lately, sorted."""
        self._heard_us = {name: heard_us for name, heard_us in self._heard_us.items() if now_us - heard_us < SILENCE_US}
        return tuple(sorted(self._heard_us))

    def left(self, name: str) -> None:
        """A relay said that it goes."""
        self._heard_us.pop(name, None)
