"""Judges the figures: one line per target, with the measured value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from scripts.bench import cases
from scripts.bench.cases import BURST, FAN_OUT, PACED, QUICK, REAL, SINGLE, WINDOWS, Case
from scripts.bench.contest import Results, middle, ratio
from scripts.bench.growth import ACTIVE, CPU, IDLE, steepest
from scripts.bench.tracing_cost import added

WIRE_RATIO = 1.08
BASE_KB, SESSION_KB = 64 << 10, 256
SESSIONS_RATIO = 0.75
FULL = 0.85
"""Share of a core from which on a process counts as saturated."""
STRAIGHT = 1.25
"""Maximum ratio of a later slope to the first: linear growth with noise stays below it."""
SECONDS = {
    "edge-client attached": 1.0,
    "edge-client attached, no face": 1.0,
    "imports: edge-client": 0.6,
    "relay-server listens": 0.7,
}
IDLE_US_PER_S = 150
"""CPU limit of an idle device."""
TRACING = (("off", "none", 1.0), ("default", "off", 5.0))
"""Mode, the mode that it is compared with, and its maximum extra cost in per cent."""


@dataclass(frozen=True, slots=True)
class Promise:
    """`figure` of `ours` and of `other` must satisfy `holds`, which is called with both."""

    case: Case
    text: str
    ours: str
    other: str
    figure: str
    holds: Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, its measurement as text, and whether it was reached; if not, whether the floor would have (None if unknown)."""

    matter: str
    aim: str
    measured: str
    kept: bool
    kept_by_floor: bool | None = None

    @property
    def conclusion(self) -> str:
        """The verdict as text."""
        if self.kept:
            return "reached"
        return "not reached, nor by the floor" if self.kept_by_floor is False else "not reached"


def _cheaper(case: Case, other: str, times: float) -> Promise:
    return Promise(case, f"{times:g}× cheaper than {other}", "ours", other, "cpu_us", lambda mine, theirs: theirs >= times * mine)


def _at_most(case: Case, other: str, share: float, ours: str = "ours") -> Promise:
    return Promise(case, f"at most {share:g}× the CPU of {other}", ours, other, "cpu_us", lambda mine, theirs: mine <= share * theirs)


PROMISES = (
    _cheaper(BURST, "bare", 10),
    _cheaper(BURST, "vendor", 4),
    _cheaper(BURST, "websockets", 3),
    _at_most(BURST, "joining", 1.25),
    _cheaper(FAN_OUT, "bare", 8),
    _cheaper(FAN_OUT, "websockets", 3),
    _at_most(WINDOWS, "bare", 1.15),
    _at_most(PACED, "bare", 0.5, "ours, tick"),
    _at_most(PACED, "vendor", 0.35, "ours, tick"),
    Promise(PACED, "p99 at most bare's + 15 ms", "ours, tick", "bare", "p99_ms", lambda mine, theirs: mine <= theirs + 15),
    Promise(PACED, "p99 at most 0.5× vendor's", "ours", "vendor", "p99_ms", lambda mine, theirs: mine <= 0.5 * theirs),
    Promise(SINGLE, "p99 at most 1.5× bare's", "ours", "bare", "p99_ms", lambda mine, theirs: mine <= 1.5 * theirs),
    *(
        _at_most(case, floor, share, ours)
        for case, share in ((PACED, 1.25), (REAL, 1.3), (QUICK, 1.3))
        for ours, floor, share in (("ours", "floor", share), ("ours, tick", "floor, tick", 1.5))
    ),
    _at_most(REAL, "floor, polling thread", 1.3),
    Promise(REAL, "context switches at most the floor's + 1", "ours", "floor", "switches", lambda mine, theirs: mine <= theirs + 1),
)
UNITS = {"cpu_us": "µs", "p99_ms": "ms", "switches": "a payload"}


def judge(figures: Mapping[str, Any]) -> list[Verdict]:
    """Judge all targets with measurements; `figures` as `scripts/bench/relay --json` writes them."""
    rounds = figures.get("rounds", {})
    verdicts = [*_promises(rounds), *_wire(rounds), *_idle(rounds)]
    verdicts += _sessions(figures.get("sessions", {}))
    verdicts += _growth(figures.get("growth", {}))
    verdicts += _start_up(figures.get("start_up", {}))
    verdicts += _tracing(figures.get("tracing", {}))
    return verdicts


def _promises(results: Results) -> Iterator[Verdict]:
    for promise in PROMISES:
        measured = results.get(promise.case.name, {})
        if measured.get(promise.ours) and measured.get(promise.other):
            ours, other = (middle(measured[name])[promise.figure] for name in (promise.ours, promise.other))
            mid, least, most = ratio(results, promise.case, promise.figure, promise.ours, promise.other)
            text = f"{ours:.2f} and {other:.2f} {UNITS[promise.figure]}: theirs is {mid:.2f}× ({least:.2f} to {most:.2f})"
            kept, kept_by_floor = promise.holds(ours, other), None
            floor_name = promise.ours.replace("ours", "floor")
            if not kept and promise.other != floor_name and (rounds := measured.get(floor_name)):
                floor = middle(rounds)[promise.figure]
                text += f"; the floor has {floor:.2f}"
                kept_by_floor = promise.holds(floor, other)
            yield Verdict(promise.case.title, f"{promise.ours}: {promise.text}", text, kept, kept_by_floor)


def _wire(results: Results) -> Iterator[Verdict]:
    for case, name in ((BURST, "ours"), (PACED, "ours"), (PACED, "ours, tick")):
        if rounds := results.get(case.name, {}).get(name):
            found = middle(rounds)["wire_ratio"]
            yield Verdict(case.title, f"{name}: bytes on the wire at most {WIRE_RATIO}× raw", f"{found:.3f}×", found <= WIRE_RATIO)


def _idle(results: Results) -> Iterator[Verdict]:
    if rounds := results.get(cases.IDLE.name, {}).get("ours"):
        found = middle(rounds)["idle_us_per_s"]
        aim = f"ours: at most {IDLE_US_PER_S} µs of CPU a second for each"
        yield Verdict(cases.IDLE.title, aim, f"{found:.0f} µs", found <= IDLE_US_PER_S)


def _sessions(searches: Mapping[str, list[dict[str, float]]]) -> Iterator[Verdict]:
    for name, other in (("ours", "floor"), ("ours, tick", "floor, tick")):
        if (ours := searches.get(name)) and (floor := searches.get(other)):
            mine, busy = (median(search[key] for search in ours) for key in ("sessions", "load_busy"))
            theirs = median(search["sessions"] for search in floor)
            limit = "; the load generator was the limit, not the relay" if busy > FULL else ""
            aim = f"{name}: at least {SESSIONS_RATIO}× those of {other}"
            kept = theirs > 0 and mine >= SESSIONS_RATIO * theirs
            yield Verdict("sessions at p99 ≤ 20 ms", aim, f"{mine:.0f} and {theirs:.0f}{limit}", kept)


def _growth(curves: Mapping[str, Mapping[str, float]]) -> Iterator[Verdict]:
    for name, what in ((IDLE, "idle devices"), (ACTIVE, "live sessions")):
        if by_count := {int(count): kb for count, kb in curves.get(name, {}).items()}:
            count, kb = max(by_count.items(), key=lambda one: one[1] - SESSION_KB * one[0])
            yield Verdict(
                "memory",
                f"at most 64 MB + 256 KB for each of the {what}",
                f"{by_count[max(by_count)] / 1024:.0f} MB with {max(by_count)}; nearest to the bound {kb / 1024:.0f} MB with {count}",
                kb <= BASE_KB + SESSION_KB * count,
            )
    if idle := curves.get(IDLE):
        first, later = steepest({int(count): kb for count, kb in idle.items() if count != "0"})
        text = f"{later:.1f} KB for each device beyond the first hundred, {first:.1f} KB before"
        yield Verdict("growth", "memory of idle devices has no super-linear part", text, later <= STRAIGHT * first)
    if cpu := curves.get(CPU):
        first, later = steepest({int(count): int(count) * cost for count, cost in cpu.items()})
        text = f"{later:.0f} µs for each payload of a further session, {first:.0f} µs for those of the first ten"
        yield Verdict("growth", "CPU of live sessions has no super-linear part", text, later <= STRAIGHT * first)


def _start_up(seconds: Mapping[str, list[float]]) -> Iterator[Verdict]:
    for name, most in SECONDS.items():
        if rounds := seconds.get(name):
            took = median(rounds)
            yield Verdict("start-up", f"{name}: at most {most:g} s", f"{took:.2f} s", took <= most)


def _tracing(instructions: Mapping[str, float]) -> Iterator[Verdict]:
    for mode, base, most in TRACING if instructions else ():
        more = added(instructions, mode, base)
        against = "a build without it" if base == "none" else "off"
        yield Verdict("tracing", f"{mode}: at most {most:g} % more instructions than {against}", f"{more:+.2f} %", more <= most)
