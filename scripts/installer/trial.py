"""Whether a new release stays: it has to be ready in time, and to keep going what the release before kept going. Pure.

1. It is ready within `ready_s`, and does not end before or after that.
2. `settle_s` after it was ready, each part runs that was running before the change or at any time since. A part that has never run does not
   count: a machine without a screen has no face to lose.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

_PART = re.compile(r"(\w+) (\w+)")


class Verdict(enum.Enum):
    """What to do with the new release."""

    WAIT = "wait"
    KEEP = "keep"
    BACK = "go back"


@dataclass(frozen=True)
class ServiceState:
    """What the service manager says: `systemctl show` with ActiveState, SubState, NRestarts and StatusText."""

    active: str
    sub: str = ""
    restarts: int = 0
    status: str = ""

    @property
    def running_parts(self) -> frozenset[str]:
        """The parts that the program says are running: `sound running, face failing`."""
        return frozenset(part for part, state in _PART.findall(self.status) if state == "running")


class Trial:
    """Looks at one service. `running_before`: the parts that ran before the change."""

    def __init__(self, running_before: Iterable[str] = (), *, ready_s: float = 30.0, settle_s: float = 60.0) -> None:
        self._ever_ran = set(running_before)
        self._ready_s = ready_s
        self._settle_s = settle_s
        self._ready_at_s: float | None = None
        self._restarts: int | None = None
        self.reason = ""

    def look(self, now_s: float, state: ServiceState) -> Verdict:
        """`now_s` counts from the change. Call it a few times a second, until it no longer says WAIT; then `reason` says why."""
        self._restarts = state.restarts if self._restarts is None else self._restarts
        if state.active == "failed" or state.sub == "auto-restart" or state.restarts > self._restarts:
            return self._back("it ended by itself")
        if self._ready_at_s is None:
            if state.active == "active":
                self._ready_at_s = now_s
            elif now_s > self._ready_s:
                return self._back(f"it was not ready within {self._ready_s:g} s")
            else:
                return Verdict.WAIT
        if state.active != "active":
            return self._back(f"it became {state.active}")
        self._ever_ran |= state.running_parts
        if now_s - self._ready_at_s < self._settle_s:
            return Verdict.WAIT
        lost = sorted(self._ever_ran - state.running_parts)
        if lost:
            return self._back(f"{' and '.join(lost)}: ran, and no longer does ({state.status or 'the program tells nothing'})")
        self.reason = "it runs"
        return Verdict.KEEP

    def _back(self, reason: str) -> Verdict:
        self.reason = reason
        return Verdict.BACK
