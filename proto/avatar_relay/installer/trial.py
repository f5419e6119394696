"""Decides whether a new release stays: it must be ready in time, and keep running what the previous release kept running. Pure.

1. It is ready within `ready_s`, and does not end before or after that.
2. `settle_s` after it was ready, each part runs that was running before the change or at any time since. A part that has never run does not
   count: a machine without a screen has no face to lose.
3. Within `settle_s` no such part was restarted more than `MAX_RESTARTS` times after it first ran: one that crashes repeatedly may
   happen to be running at each check.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_RESTARTS = 1
"""A display that is switched off and on costs one restart."""
_PART = re.compile(r"(\w+) (\w+)(?: \(started again ([0-9]{1,9}) times\))?")


class TrialVerdict(enum.Enum):
    """What to do with the new release."""

    WAIT = "wait"
    KEEP = "keep"
    BACK = "go back"


@dataclass(frozen=True)
class ServiceState:
    """State reported by the service manager: `systemctl show` with ActiveState, SubState, NRestarts and StatusText."""

    active: str
    sub: str = ""
    restarts: int = 0
    status: str = ""

    @property
    def running_parts(self) -> frozenset[str]:
        """The parts that the program reports as running: `sound running, face running (started again 3 times)`."""
        return frozenset(part for part, state, _ in self._parts() if state == "running")

    @property
    def part_restarts(self) -> dict[str, int]:
        """Number of restarts of each part since the program began."""
        return {part: int(restarts or 0) for part, _, restarts in self._parts()}

    def _parts(self) -> list[tuple[str, str, str]]:
        found = (_PART.fullmatch(text) for text in self.status.split(", "))
        return [(match[1], match[2], match[3]) for match in found if match is not None]


class Trial:
    """Observes one service. `running_before`: the parts that ran before the change."""

    def __init__(self, running_before: Iterable[str] = (), *, ready_s: float = 30.0, settle_s: float = 60.0) -> None:
        self._ever_ran = set(running_before)
        self._ready_s = ready_s
        self._settle_s = settle_s
        self._ready_at_s: float | None = None
        self._restarts: int | None = None
        self._part_restarts: dict[str, int] = {}
        """Restart count of each part when it was first seen running."""
        self.reason = ""

    def look(self, now_s: float, state: ServiceState) -> TrialVerdict:
        """Evaluate a state `now_s` after the change. Call it a few times a second until the result is not WAIT; then `reason` says why."""
        self._restarts = state.restarts if self._restarts is None else self._restarts
        if state.active == "failed" or state.sub == "auto-restart" or state.restarts > self._restarts:
            return self._back("it ended by itself")
        if self._ready_at_s is None:
            if state.active == "active":
                self._ready_at_s = now_s
            elif now_s > self._ready_s:
                return self._back(f"it was not ready within {self._ready_s:g} s")
            else:
                return TrialVerdict.WAIT
        if state.active != "active":
            return self._back(f"it became {state.active}")
        self._ever_ran |= state.running_parts
        for part, restarts in state.part_restarts.items():
            if part in state.running_parts:
                self._part_restarts.setdefault(part, restarts)
            again = restarts - self._part_restarts.get(part, restarts)
            if again > MAX_RESTARTS:
                return self._back(f"{part}: it was started again {again} times within {now_s - self._ready_at_s:.0f} s")
        if now_s - self._ready_at_s < self._settle_s:
            return TrialVerdict.WAIT
        lost = sorted(self._ever_ran - state.running_parts)
        if lost:
            return self._back(f"{' and '.join(lost)}: ran, and no longer does ({state.status or 'the program tells nothing'})")
        self.reason = "it runs"
        return TrialVerdict.KEEP

    def _back(self, reason: str) -> TrialVerdict:
        self.reason = reason
        return TrialVerdict.BACK
