"""When a child process is started, killed, and restarted. Pure: time is an argument.

The rules:
1. A child is killed when it shows no sign of life: a thread in it beats every `beat_us`, and `misses` beats in a row are missing. Until its
   first progress it may miss `opening_misses`, unless it is stopped: drivers hold the interpreter while they open a device. Before its
   first beat only rule 2 applies: on a slow or busy disk, a process takes long to start.
2. It is killed when it makes no progress for `progress_us`, or none at all for `first_progress_us`.
3. One check adds at most `LONGEST_STEP_US` to these times. A gap in the checks means that the watching process was stopped itself, or the
   machine was suspended; the child then gets time to respond.
4. A child that ended is restarted after a pause: the next of `pauses_us` for each failure in a row, the last one repeatedly. Progress for
   `healthy_us` ends the row of failures.
5. A child that does not end within `KILL_US` after it was killed is abandoned, and none is started beside it until it has ended.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_STEP_US = 500_000
KILL_US = 2_000_000


class ChildState(enum.Enum):
    """State of a child."""

    STARTING = "starting"
    """It runs, or is about to, and has made no progress yet."""
    RUNNING = "running"
    FAILING = "failing"
    """It failed, and has not been running again since; the reason is known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A child's state, and the reason, which is empty unless it failed."""

    state: ChildState = ChildState.STARTING
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state.value} ({self.reason})" if self.reason else self.state.value


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a child failed and had to be restarted, and the last reason."""

    count: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """How long a child may be silent, and the pauses before it is restarted, in µs."""

    progress_us: int
    first_progress_us: int
    pauses_us: Sequence[int]
    beat_us: int = 1_000_000
    misses: int = 2
    opening_misses: int = 10
    healthy_us: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Signs:
    """Counters of a running child, as it last wrote them. Only their changes count."""

    beats: int
    progress: int
    is_stopped: bool = False
    """Somebody stopped the process (SIGSTOP): its silence is not caused by a driver."""


class Action(enum.Enum):
    """What to do now."""

    NOTHING = "nothing"
    START = "start"
    KILL = "kill"


class Supervision:
    """The policy for one child. Call `act` several times a second, with rising times. Not thread-safe."""

    def __init__(self, limits: ChildLimits) -> None:
        self._limits = limits
        self._standing = Standing()
        self.restarts = Restarts()
        """Requested ends do not count."""
        self._failures = 0
        self._start_us: int | None = None
        self._last_us: int | None = None
        self._signs = Signs(0, 0)
        self._progressed = False
        self._silent_us = self._still_us = self._healthy_us = 0
        self._killed_for = ""
        self._dying_us = 0
        self._to_kill = ""

    @property
    def standing(self) -> Standing:
        """The state of the child."""
        return self._standing

    def act(self, now_us: int, signs: Signs | None) -> Action:
        """What to do now. `signs` are those of the process; None if there is none. After START call `started`, or `ended` if that fails."""
        step_us = 0 if self._last_us is None else min(max(0, now_us - self._last_us), LONGEST_STEP_US)
        self._last_us = now_us
        if signs is None:
            return Action.START if self._start_us is None or now_us >= self._start_us else Action.NOTHING
        if self._killed_for:
            self._dying_us += step_us
            if self._dying_us > KILL_US:
                self._standing = Standing(ChildState.FAILING, f"unkillable: it does not end although it was killed: {self._killed_for}")
            return Action.NOTHING
        self._look(signs, step_us)
        reason = self._to_kill or self._overdue()
        if not reason:
            return Action.NOTHING
        self._killed_for = reason
        self._standing = Standing(ChildState.FAILING, reason)
        return Action.KILL

    def started(self) -> None:
        """Note that a process was started: its counters begin at 0."""
        self._signs, self._progressed = Signs(0, 0), False
        self._silent_us = self._still_us = self._healthy_us = self._dying_us = 0
        self._killed_for = self._to_kill = ""

    def ended(self, now_us: int, reason: str, *, wanted: bool = False) -> None:
        """Note that the process has ended, or could not be started. If the end was `wanted`, restart it at once; it is no failure."""
        reason = self._killed_for or reason
        self._killed_for = self._to_kill = ""
        if wanted:
            self._start_us = now_us
            self._standing = Standing()
            return
        self.restarts = Restarts(self.restarts.count + 1, reason)
        if self._healthy_us >= self._limits.healthy_us:
            self._failures = 0
        self._healthy_us = 0
        pauses_us = self._limits.pauses_us
        self._start_us = now_us + pauses_us[min(self._failures, len(pauses_us) - 1)]
        self._failures += 1
        self._standing = Standing(ChildState.FAILING, reason)

    def hurry(self, now_us: int) -> None:
        """Skip the pause before a restart: the missing resource may be available now."""
        if self._start_us is not None:
            self._start_us = min(self._start_us, now_us)

    def replace(self, reason: str) -> None:
        """Kill the process at the next check, and restart it by the usual rules."""
        self._to_kill = reason

    def _look(self, signs: Signs, step_us: int) -> None:
        self._silent_us = 0 if signs.beats != self._signs.beats else self._silent_us + step_us
        if signs.progress != self._signs.progress:
            self._still_us, self._progressed = 0, True
            self._healthy_us += step_us
            self._standing = Standing(ChildState.RUNNING)
        else:
            self._still_us += step_us
        self._signs = signs

    def _overdue(self) -> str:
        """Why the child must be killed; empty while it meets its deadlines."""
        limits = self._limits
        silent_limit_us = limits.beat_us * (limits.misses if self._progressed or self._signs.is_stopped else limits.opening_misses)
        still_limit_us = limits.progress_us if self._progressed else limits.first_progress_us
        if self._silent_us > silent_limit_us and (self._signs.beats or self._signs.is_stopped):
            return f"no sign of life for {silent_limit_us / 1e6:g} s"
        if self._still_us > still_limit_us:
            return f"no progress for {still_limit_us / 1e6:g} s"
        return ""
