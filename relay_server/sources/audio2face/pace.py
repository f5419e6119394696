"""How long sound may wait for its motion, so that it is heard without a break whatever the service does.

Rules:
1. The first sound waits until `PREROLL_S` of motion is there, at most `FIRST_WAIT_S`.
2. From then on it is heard in real time; what is heard next goes out `LEAD_S` before, with its motion or without.
3. Sound that comes late itself begins anew (`ask`).
4. Once all sound is out, motion is waited for until `LAST_WAIT_S` after the last of it was heard.
"""

from __future__ import annotations

PREROLL_S = 0.3
FIRST_WAIT_S = 0.8
LEAD_S = 0.15
LAST_WAIT_S = 1.5


class SoundPace:
    """Of one conversation, over all its clips. Pure: times are seconds of the caller's clock, positions seconds of the conversation."""

    def __init__(self, now_s: float) -> None:
        self._asked_s = now_s
        self._heard_from_s: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any sound went out."""
        return self._heard_from_s is not None

    def ask(self, now_s: float) -> None:
        """There is no sound, and none left to be heard: what comes next is a first sound."""
        self._asked_s, self._heard_from_s = now_s, None

    def released(self, position_s: float, now_s: float) -> None:
        """The sound at this position goes out now."""
        began_s = now_s - position_s
        self._heard_from_s = began_s if self._heard_from_s is None else max(self._heard_from_s, began_s)

    def due_at_s(self, position_s: float) -> float:
        """When the sound at this position must go out."""
        if self._heard_from_s is None:
            return self._asked_s + FIRST_WAIT_S
        return self._heard_from_s + position_s - LEAD_S

    def due_to_s(self, now_s: float) -> float:
        """Up to which position sound must be out by now."""
        if self._heard_from_s is None:
            return LEAD_S if now_s >= self._asked_s + FIRST_WAIT_S else 0.0
        return now_s - self._heard_from_s + LEAD_S

    def gives_up_at_s(self, length_s: float) -> float:
        """Until when the motion of all the sound is waited for."""
        heard_from_s = self._asked_s if self._heard_from_s is None else self._heard_from_s
        return heard_from_s + length_s + LAST_WAIT_S
