"""The state of the device's parts, for operators: which sink and renderer are in use, and why no better one is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.limits import MAX_SOFTWARE_CHARACTERS, MAX_TEXT_CHARACTERS
from edge_client.audio.sink import SinkCounters

LOOK_US = 1_000_000
"""Minimum interval between checks for changes."""


def part(name: str, state: PartState, what: str, reason: str, restarts: int, restart_reason: str = "") -> Part:
    """A part ready to be sent.

    Texts are cut to the relay's limit and contain no lone surrogates, which names of files and devices may have.
    """
    what, reason, last = (text.encode("utf-8", "replace").decode() for text in (what, reason, restart_reason))
    return Part(name, state, what[:MAX_SOFTWARE_CHARACTERS], reason[:MAX_TEXT_CHARACTERS], restarts, last[:MAX_TEXT_CHARACTERS])


def in_words(parts: Iterable[Part]) -> str:
    """A line for `systemctl status`, such as `sound running, face running (started again 3 times)`."""
    notes = ((one, f" (started again {one.restarts} times)" if one.restarts else "") for one in parts)
    return ", ".join(f"{one.name} {one.state.value}{note}" for one, note in notes)


def sound_part(name: str, counters: SinkCounters) -> Part:
    """The state of a sink of this name."""
    if counters.lost:
        state = PartState.FAILING
    elif counters.unheard:
        state = PartState.UNHEARD
    else:
        state = PartState.STARTING if counters.opening else PartState.RUNNING
    return part("sound", state, name, counters.lost or counters.unheard or counters.why, counters.restarts, counters.last_loss)


class PartsReporter:
    """Reports the state of the parts after each attach and when it has changed, at most every `LOOK_US`. Belongs to one thread."""

    def __init__(self, parts: Callable[[], tuple[Part, ...]]) -> None:
        self._parts = parts
        self._told: tuple[Part, ...] | None = None
        self._look_us = 0

    def attached(self) -> None:
        """Note that the relay has accepted the device: it does not have the state of the parts yet."""
        self._told, self._look_us = None, 0

    def news(self, now_us: int) -> Parts | None:
        """The report that is due now, if any."""
        if now_us < self._look_us:
            return None
        self._look_us = now_us + LOOK_US
        parts = self._parts()
        if parts == self._told:
            return None
        self._told = parts
        return Parts(parts)
