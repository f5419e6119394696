"""The level of detail of the head: configured, or chosen by the time that pictures take. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

from edge_client.choices import BackgroundChoice, DetailChoice, HairChoice

Detail = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class HeadLook:
    """Settings of how GLES draws the head."""

    detail: DetailChoice = "auto"
    hair: HairChoice = "auto"
    """Only for heads with a hairline."""
    background: BackgroundChoice = "plain"


USUAL_LOOK = HeadLook()

TIMED_PICTURES = 45
MOST_S = 0.024
"""If pictures take longer than this, 30 a second are at risk: the screen's refresh and the program need the rest."""


class DetailLevel:
    """The level in use. `auto` starts at `high` on a GPU and drops to `low` permanently if pictures take too long; a CPU draws `low`."""

    def __init__(self, choice: DetailChoice, *, software: bool) -> None:
        """`software`: the CPU draws."""
        self.level: Detail = "low" if choice == "low" or (choice == "auto" and software) else "high"
        self.is_watched = choice == "auto" and self.level == "high"
        """Whether pictures are timed."""
        self._took_s: deque[float] = deque(maxlen=TIMED_PICTURES)

    def falls(self, took_s: float) -> bool:
        """Report the time to draw and show a picture, without the wait for the refresh; returns True if the level drops to `low`."""
        if not self.is_watched:
            return False
        self._took_s.append(took_s)
        if len(self._took_s) < TIMED_PICTURES or median_low(self._took_s) <= MOST_S:
            return False
        self.level, self.is_watched = "low", False
        return True
