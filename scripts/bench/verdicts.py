"""What the figures must show: one line for each promise, with what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scripts.bench.cases import BURST, FAN_OUT, PACED, SINGLE, WINDOWS, Case
from scripts.bench.contest import Results, middle, ratio


@dataclass(frozen=True, slots=True)
class Promise:
    """`figure` of `ours` compared with `other`'s must satisfy `holds`, which is told both."""

    case: Case
    text: str
    ours: str
    other: str
    figure: str
    holds: Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise with what was measured. `ratio` is other ÷ ours, with its least and most over the rounds."""

    promise: Promise
    ours: float
    other: float
    ratio: tuple[float, float, float]

    @property
    def kept(self) -> bool:
        """Whether the medians hold it."""
        return self.promise.holds(self.ours, self.other)


def _cheaper(case: Case, other: str, times: float, ours: str = "ours") -> Promise:
    text = f"{times:g}× cheaper than {other}" if times > 1 else f"at most {1 / times:.2f}× the CPU of {other}"
    return Promise(case, text, ours, other, "cpu_us", lambda mine, theirs: theirs >= times * mine)


PROMISES = (
    _cheaper(BURST, "bare", 10),
    _cheaper(BURST, "vendor", 4),
    _cheaper(BURST, "websockets", 3),
    _cheaper(BURST, "joining", 0.8),
    _cheaper(FAN_OUT, "bare", 8),
    _cheaper(FAN_OUT, "websockets", 3),
    _cheaper(WINDOWS, "bare", 1 / 1.15),
    _cheaper(PACED, "bare", 2, "ours, tick"),
    _cheaper(PACED, "vendor", 1 / 0.35, "ours, tick"),
    Promise(PACED, "p99 at most bare's + 15 ms", "ours, tick", "bare", "p99_ms", lambda mine, theirs: mine <= theirs + 15),
    Promise(PACED, "p99 at most 0.5× vendor's", "ours", "vendor", "p99_ms", lambda mine, theirs: mine <= 0.5 * theirs),
    Promise(SINGLE, "p99 at most 1.2× bare's", "ours", "bare", "p99_ms", lambda mine, theirs: mine <= 1.2 * theirs),
)


def judge(results: Results) -> list[Verdict]:
    """All promises whose case and contenders were measured."""
    verdicts = []
    for promise in PROMISES:
        measured = results.get(promise.case.name, {})
        if measured.get(promise.ours) and measured.get(promise.other):
            ours, other = (middle(measured[name])[promise.figure] for name in (promise.ours, promise.other))
            verdicts.append(Verdict(promise, ours, other, ratio(results, promise.case, promise.figure, promise.ours, promise.other)))
    return verdicts
