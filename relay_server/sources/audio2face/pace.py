"""How long sound may wait for its motion, so that it plays without a gap whatever the service does.

Rules:

1. The first sound waits until `PREROLL_S` of motion is available, at most `FIRST_WAIT_S`.
2. From then on it plays in real time; the next sound is published `LEAD_S` ahead, with or without its motion.
3. If sound itself is late, the next one is treated as a first sound (`ask`).
4. Once all sound is published, motion is waited for until `LAST_WAIT_S` after the end of its playout.
"""

from __future__ import annotations

PREROLL_S = 0.3
FIRST_WAIT_S = 0.8
LEAD_S = 0.15
LAST_WAIT_S = 1.5


class SoundPace:
    """The pace of one conversation, over all its clips. Pure: times are seconds of the caller's clock, positions seconds of the
    conversation."""

    def __init__(self, now_s: float) -> None:
        self._asked_s = now_s
        self._heard_from_s: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any sound was published."""
        return self._heard_from_s is not None

    def ask(self, now_s: float) -> None:
        """No sound is available, and none is left to play: the next one is a first sound."""
        self._asked_s, self._heard_from_s = now_s, None

    def released(self, position_s: float, now_s: float) -> None:
        """Note that the sound at this position is published now."""
        began_s = now_s - position_s
        self._heard_from_s = began_s if self._heard_from_s is None else max(self._heard_from_s, began_s)

    def due_at_s(self, position_s: float) -> float:
        """When the sound at this position must be published."""
        if self._heard_from_s is None:
            return self._asked_s + FIRST_WAIT_S
        return self._heard_from_s + position_s - LEAD_S

    def due_to_s(self, now_s: float) -> float:
        """The position up to which sound must be published by now."""
        if self._heard_from_s is None:
            return LEAD_S if now_s >= self._asked_s + FIRST_WAIT_S else 0.0
        return now_s - self._heard_from_s + LEAD_S

    def gives_up_at_s(self, length_s: float) -> float:
        """Until when the motion of all the sound is waited for."""
        heard_from_s = self._asked_s if self._heard_from_s is None else self._heard_from_s
        return heard_from_s + length_s + LAST_WAIT_S
