"""Which vendor sessions exist, which conversation gets one, and when one is opened or closed. Open sessions cost money.

Rules:

1. A device has at most one session at a time, and all devices at most `max_sessions`. Closing sessions count until they are gone, so that
   two are never paid for if one is enough.
2. A conversation gets an idle session of its format; else one is opened for it; else an idle one of another format is closed to make room;
   else it waits.
3. `warm_sessions` idle or opening sessions of the usual format are kept ready. Further idle ones are closed after `idle_close_us`, and any
   idle one `RENEW_MARGIN_US` before the plan's cap, so that no conversation reaches it.
4. After a failure there is a delay before the next session: full jitter below a limit that doubles with each consecutive failure. The
   series ends when motion arrives, or after `CALM_US` without a failure. Opening a session does not end it, because a session that is
   closed at once is paid for, too. A refusal holds for longer: open sessions continue, new ones are not tried, and a conversation that
   needs one fails at once with the reason.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from avatar_relay.media import AudioFormat
from avatar_relay.reasons import Fault

FIRST_BACKOFF_US = 500_000
LARGEST_BACKOFF_US = 30_000_000
CALM_US = 60_000_000
RENEW_MARGIN_US = 20_000_000


@dataclass(frozen=True, slots=True)
class StockRules:
    """Limits; times in µs. `session_max_us`: 0 if there is no limit."""

    warm_format: AudioFormat
    warm_sessions: int
    max_sessions: int
    idle_close_us: int
    session_max_us: int = 0


class SessionState(enum.Enum):
    """The state of a session in the stock."""

    OPENING = "opening"
    IDLE = "idle"
    BUSY = "busy"
    CLOSING = "closing"


@dataclass(slots=True)
class _Entry:
    audio_format: AudioFormat
    standing: SessionState
    device: str
    since_us: int
    opened_us: int


@dataclass(frozen=True, slots=True)
class Leased:
    """A session that is ready for the conversation."""

    number: int


@dataclass(frozen=True, slots=True)
class Open:
    """Open a session with this number, for the caller or as a warm one."""

    number: int
    audio_format: AudioFormat


@dataclass(frozen=True, slots=True)
class Close:
    """Close a session."""

    number: int


@dataclass(frozen=True, slots=True)
class Wait:
    """No session now; ask again after a change. `close` makes room meanwhile; `until_us` is when time alone changes the answer."""

    close: Close | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """No session before the hold is over, for the reason `fault`."""

    fault: Fault


class SessionStock:
    """The sessions of one account, by number. Pure; `jitter` returns 0 to 1."""

    def __init__(self, rules: StockRules, jitter: Callable[[], float]) -> None:
        self._rules = rules
        self._jitter = jitter
        self._entries: dict[int, _Entry] = {}
        self._next = 0
        self._failures = 0
        self._failed_us = 0
        self._backoff_until_us = 0
        self._held_until_us = 0
        self._held_for: Fault | None = None

    def count(self, standing: SessionState | None = None) -> int:
        """The number of sessions, in one state or in all."""
        return sum(1 for entry in self._entries.values() if standing in (None, entry.standing))

    def standing(self, number: int) -> SessionState | None:
        """The state of a session; None if it is gone."""
        entry = self._entries.get(number)
        return None if entry is None else entry.standing

    def take(self, device: str, audio_format: AudioFormat, now_us: int) -> Leased | Open | Wait | SessionRefused:
        """Request a session for a conversation on a device (rule 2)."""
        if any(entry.device == device and entry.standing is not SessionState.CLOSING for entry in self._entries.values()):
            return Wait()
        idle = self._idle
        fitting = [number for number in idle if self._entries[number].audio_format == audio_format and not self._is_old(number, now_us)]
        if fitting and now_us >= self._backoff_until_us:
            entry = self._entries[fitting[-1]]
            entry.standing, entry.device = SessionState.BUSY, device
            return Leased(fitting[-1])
        if self._held_for is not None and now_us < self._held_until_us:
            return SessionRefused(self._held_for)
        if len(self._entries) >= self._rules.max_sessions:
            spare = self._close(idle[0]) if idle else None
            return Wait(spare)
        if now_us < self._backoff_until_us:
            return Wait(until_us=self._backoff_until_us)
        return self._open(audio_format, device, now_us)

    def opened(self, number: int, now_us: int) -> None:
        """A session is connected: busy if it was opened for a device, else idle."""
        entry = self._entries[number]
        entry.standing = SessionState.BUSY if entry.device else SessionState.IDLE
        entry.since_us = entry.opened_us = now_us
        self._held_for, self._backoff_until_us = None, 0

    def worked(self) -> None:
        """Reset the backoff after success."""
        self._failures = self._backoff_until_us = 0

    def failed(self, now_us: int, hold_us: int, fault: Fault) -> None:
        """A session could not be opened, or ended for a reason that would recur (rule 4)."""
        if now_us >= self._failed_us + CALM_US:
            self._failures = 0
        self._failed_us = now_us
        limit_us = min(FIRST_BACKOFF_US << min(self._failures, 10), LARGEST_BACKOFF_US)
        self._failures += 1
        self._backoff_until_us = now_us + round(limit_us * self._jitter())
        if hold_us:
            self._held_until_us, self._held_for = now_us + hold_us, fault

    def released(self, number: int, now_us: int) -> None:
        """A conversation has returned a session that can serve another one."""
        entry = self._entries[number]
        if entry.standing is SessionState.BUSY:
            entry.standing, entry.device, entry.since_us = SessionState.IDLE, "", now_us

    def closing(self, number: int) -> None:
        """A session is being closed."""
        if number in self._entries:
            self._entries[number].standing, self._entries[number].device = SessionState.CLOSING, ""

    def gone(self, number: int) -> None:
        """A session is closed."""
        self._entries.pop(number, None)

    def tick(self, now_us: int) -> list[Open | Close]:
        """The effects due by time and for the warm sessions (rule 3)."""
        due = [number for number in self._spare if now_us >= self._entries[number].since_us + self._rules.idle_close_us]
        old = [number for number in self._idle if self._is_old(number, now_us)]
        effects: list[Open | Close] = [self._close(number) for number in dict.fromkeys(due + old)]
        while self._lacks_warm and len(self._entries) < self._rules.max_sessions and now_us >= self._may_open_us:
            effects.append(self._open(self._rules.warm_format, "", now_us))
        return effects

    def next_deadline_us(self) -> int | None:
        """When `tick` may have effects by time alone; None if never."""
        deadlines = [self._entries[number].since_us + self._rules.idle_close_us for number in self._spare]
        if self._rules.session_max_us:
            deadlines += [self._entries[number].opened_us + self._rules.session_max_us - RENEW_MARGIN_US for number in self._idle]
        if self._lacks_warm and len(self._entries) < self._rules.max_sessions:
            deadlines.append(self._may_open_us)
        return min(deadlines, default=None)

    @property
    def _idle(self) -> list[int]:
        return [number for number, entry in self._entries.items() if entry.standing is SessionState.IDLE]

    @property
    def _spare(self) -> list[int]:
        """Idle sessions in excess of the warm ones."""
        idle = self._idle
        warm = [number for number in idle if self._entries[number].audio_format == self._rules.warm_format]
        return [number for number in idle if number not in warm] + warm[: max(len(warm) - self._rules.warm_sessions, 0)]

    @property
    def _may_open_us(self) -> int:
        return max(self._backoff_until_us, 0 if self._held_for is None else self._held_until_us)

    @property
    def _lacks_warm(self) -> bool:
        ready = (SessionState.OPENING, SessionState.IDLE)
        mine = [entry for entry in self._entries.values() if entry.audio_format == self._rules.warm_format and not entry.device]
        return sum(1 for entry in mine if entry.standing in ready) < self._rules.warm_sessions

    def _is_old(self, number: int, now_us: int) -> bool:
        longest_us = self._rules.session_max_us
        return bool(longest_us) and now_us >= self._entries[number].opened_us + longest_us - RENEW_MARGIN_US

    def _open(self, audio_format: AudioFormat, device: str, now_us: int) -> Open:
        self._next += 1
        self._entries[self._next] = _Entry(audio_format, SessionState.OPENING, device, now_us, now_us)
        return Open(self._next, audio_format)

    def _close(self, number: int) -> Close:
        self.closing(number)
        return Close(number)
