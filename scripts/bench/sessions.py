"""How many live sessions a contender carries before the slowest hundredth of payloads takes longer than 20 ms.

A number of sessions is tried for a few seconds on a server of its own: doubled until one is too many, then between the last two.
One that fails is tried once more, so that a single hiccup of the machine does not decide. The sessions begin one after another: if all were
opened at once, what had gathered meanwhile would decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scripts.bench.cases import PACED
from scripts.bench.contest import CONTENDERS, Figures, measure

CONTESTANTS = ("ours", "ours, tick", "floor", "floor, tick", "vendor")
P99_MS = 20.0
ON_TIME = 0.97
"""Share of payloads that must be received within the run: an ever-growing queue does not count as carried."""
PAYLOADS_A_SECOND = 80
FIRST_TRY, MOST = 20, 640
PRECISION = 0.12
SECONDS = 2.0
RAMP_S = 1.5
TYPICAL_S = 60.0
"""Approximate duration of a search."""


def largest(holds: Callable[[int], bool], first: int = FIRST_TRY, most: int = MOST, precision: float = PRECISION) -> int:
    """The largest number that holds, to a relative precision of `precision`, from 0 to `most`; the search starts at `first`."""
    low, high = 0, first
    while holds(high):
        low, high = high, high * 2
        if low >= most:
            return low
    while high - low > max(1.0, precision * low):
        between = (low + high) // 2
        if holds(between):
            low = between
        else:
            high = between
    return low


def carried(sessions: int, figures: Figures) -> bool:
    """Whether this number of sessions was carried."""
    return figures["p99_ms"] <= P99_MS and figures["rate"] >= ON_TIME * PAYLOADS_A_SECOND * sessions


def search(name: str, say: Callable[[str], None]) -> Figures:
    """Search for one contender: the sessions, and the CPU use of server and load generator with them. Raises `BenchError`."""
    best: dict[int, Figures] = {0: {}}

    def holds(sessions: int) -> bool:
        for _ in range(2):
            figures = measure(CONTENDERS[name], replace(PACED, sessions=sessions, seconds=SECONDS, ramp_s=RAMP_S))
            say(
                f"{name:12} {sessions:4} sessions: p99 {figures['p99_ms']:.1f} ms, {figures['rate']:.0f}/s, "
                f"server {100 * figures['server_busy']:.0f} %, load generator {100 * figures['load_busy']:.0f} % busy"
            )
            if carried(sessions, figures):
                best[sessions] = figures
                return True
        return False

    sessions = largest(holds)
    return {"sessions": float(sessions)} | {key: best[sessions].get(key, 0.0) for key in ("p99_ms", "cpu_us", "server_busy", "load_busy")}


def searches(rounds: int, say: Callable[[str], None], names: Sequence[str] = CONTESTANTS) -> dict[str, list[Figures]]:
    """Run `rounds` searches for each contender, in alternating order."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(search(name, say))
    return found
