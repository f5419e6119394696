"""The simulations at full length: `scripts/simulate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.edge_client.simulation.live import LiveFigures, run_live
from tests.edge_client.simulation.network import CALM, ROUGH, Network
from tests.edge_client.simulation.recorded import clips
from tests.edge_client.simulation.schedules import judge
from tests.edge_client.simulation.splices import FORMATS, splice

MINUTES = 60
"""Length of the drift runs."""
ONE_STALL = Network(stalls=((90_000_000, 1_000_000),))


class Row(NamedTuple):
    """The figures of a run."""

    name: str
    passed: bool
    text: str


def _live_row(name: str, figures: LiveFigures, *, passed: bool) -> Row:
    first, *rest = figures.gaps_by_minute
    delay = f"delay {figures.delay_min_ms:.0f} to {figures.delay_max_ms:.0f} ms"
    told = f"gaps {first} + {sum(rest)}, {delay}, {figures.delay_last_ms:.0f} at the end, step {figures.largest_step_dbfs} dBFS"
    return Row(name, passed, told)


def _whole(figures: LiveFigures) -> bool:
    return figures.finished == 1 and figures.pts_is_monotone and figures.largest_step_dbfs < -40


def drift(seed: int, cases: int) -> Iterator[Row]:
    """An hour with a card that runs fast or slow, over a calm network: no gap, and the delay stays the same."""
    for ppm in (500.0, -500.0):
        figures = run_live(CALM, minutes=MINUTES, ppm=ppm, seed=seed)
        steady = figures.delay_max_ms - figures.delay_min_ms < 20
        passed = _whole(figures) and steady and not any(figures.gaps_by_minute) and not figures.skipped_payloads
        yield _live_row(f"drift {ppm:+.0f} ppm, {MINUTES:g} min", figures, passed=passed)


def jitter(seed: int, cases: int) -> Iterator[Row]:
    """50 ± 40 ms with 1 % spikes of 200 ms, ten minutes: at most one gap after the first minute."""
    for ppm in (0.0, 200.0, -200.0, 500.0, -500.0):
        figures = run_live(ROUGH, minutes=10, ppm=ppm, seed=seed)
        passed = _whole(figures) and figures.gaps_after_first_minute <= 1
        yield _live_row(f"jitter 50 ± 40 ms, 1 % of 200 ms, {ppm:+.0f} ppm", figures, passed=passed)


def stall(seed: int, cases: int) -> Iterator[Row]:
    """Nothing arrives for a second: one gap, in which the delay grows, and after it the delay is within its bounds."""
    figures = run_live(ONE_STALL, minutes=3, seed=seed)
    passed = _whole(figures) and figures.gaps_by_minute == (0, 1, 0) and figures.delay_last_ms < 550
    yield _live_row("stall of 1 s", figures, passed=passed)


def xruns(seed: int, cases: int) -> Iterator[Row]:
    """The card stalls for 60 ms each 47 s, and once for 1.5 s: the sound of that time is skipped, and nothing else."""
    stands = [*((begin * 1_000_000, 60_000) for begin in range(20, 560, 47)), (400_000_000, 1_500_000)]
    figures = run_live(ROUGH, minutes=10, ppm=200, seed=seed, xruns=stands)
    passed = _whole(figures) and figures.gaps_after_first_minute <= 1 and figures.delay_last_ms < 420
    yield _live_row(f"{len(stands)} xruns, jitter, +200 ppm", figures, passed=passed)


def schedules(seed: int, cases: int) -> Iterator[Row]:
    """Random schedules against the model."""
    verdicts = [judge(seed * 1_000_000 + number) for number in range(cases)]
    faulty = [verdict for verdict in verdicts if verdict.faults]
    conversations, reconnects, gaps, samples = (
        sum(getattr(verdict, name) for verdict in verdicts) for name in ("conversations", "reconnects", "gaps", "samples")
    )
    told = f"{len(faulty)} faulty; {conversations} conversations, {reconnects} reconnects, {gaps} gaps, {samples / 48_000:.0f} s heard"
    yield Row(f"{cases} schedules", not faulty, f"{told} {faulty[:10] or ''}")


def splices(seed: int, cases: int) -> Iterator[Row]:
    """Lost payloads and stalls: no joint is audible, and losses are concealed."""
    for name, clip in clips():
        for format_name in FORMATS:
            figures = splice(name, clip, format_name)
            told = f"{figures.joints} joints, step {figures.largest_step_dbfs} dBFS, filled to {figures.filled_share:.2f}"
            passed = figures.largest_step_dbfs < -40 and figures.filled_share > 0.3
            yield Row(f"{name}, {format_name}", passed, told)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("simulation", [drift, jitter, stall, xruns, schedules, splices])
def test_long(simulation: Callable[[int, int], Iterator[Row]], request: pytest.FixtureRequest) -> None:
    """Print a line for each run; `--seed` and `--cases` (of the schedules) choose others."""
    seed, cases = request.config.getoption("--seed"), request.config.getoption("--cases") or 1_000
    failed = []
    for row in simulation(seed, cases):
        sys.stdout.write(f"{'ok  ' if row.passed else 'FAIL'} {row.name:<45} {row.text}\n")
        failed += [] if row.passed else [row]
    assert failed == []
