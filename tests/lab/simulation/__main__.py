"""Runs the simulations and prints a table: `scripts/simulate --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.lab.simulation.live import LiveFigures, run_live
from tests.lab.simulation.network import CALM, ROUGH, Network
from tests.lab.simulation.recorded import clips
from tests.lab.simulation.schedules import judge
from tests.lab.simulation.splices import FORMATS, splice

Row = dict[str, Any]
ONE_STALL = Network(stalls=((90_000_000, 1_000_000),))


def _live_row(name: str, figures: LiveFigures, *, passed: bool) -> Row:
    first, *rest = figures.gaps_by_minute
    delay = f"delay {figures.delay_min_ms:.0f} to {figures.delay_max_ms:.0f} ms"
    told = f"gaps {first} + {sum(rest)}, {delay}, {figures.delay_last_ms:.0f} at the end, step {figures.largest_step_dbfs} dBFS"
    return {"name": name, "passed": passed, "told": told, **dataclasses.asdict(figures)}


def _whole(figures: LiveFigures) -> bool:
    return figures.finished == 1 and figures.pts_is_monotone and figures.largest_step_dbfs < -40


def drift(options: argparse.Namespace) -> Iterator[Row]:
    """An hour against a card that runs fast or slow, over a calm network: no gap, and the delay stays."""
    for ppm in (500.0, -500.0):
        figures = run_live(CALM, minutes=options.minutes, ppm=ppm, seed=options.seed)
        steady = figures.delay_max_ms - figures.delay_min_ms < 20
        passed = _whole(figures) and steady and not any(figures.gaps_by_minute) and not figures.skipped_payloads
        yield _live_row(f"drift {ppm:+.0f} ppm, {options.minutes:g} min", figures, passed=passed)


def jitter(options: argparse.Namespace) -> Iterator[Row]:
    """50 ± 40 ms with 1 % spikes of 200 ms, ten minutes: at most one gap after the first minute."""
    for ppm in (0.0, 200.0, -200.0, 500.0, -500.0):
        figures = run_live(ROUGH, minutes=10, ppm=ppm, seed=options.seed)
        passed = _whole(figures) and figures.gaps_after_first_minute <= 1
        yield _live_row(f"jitter 50 ± 40 ms, 1 % of 200 ms, {ppm:+.0f} ppm", figures, passed=passed)


def stall(options: argparse.Namespace) -> Iterator[Row]:
    """Nothing comes for a second: one gap, in which the delay grows, and behind it the delay is within its bounds."""
    figures = run_live(ONE_STALL, minutes=3, seed=options.seed)
    passed = _whole(figures) and figures.gaps_by_minute == (0, 1, 0) and figures.delay_last_ms < 550
    yield _live_row("stall of 1 s", figures, passed=passed)


def xruns(options: argparse.Namespace) -> Iterator[Row]:
    """The card stands for 60 ms each 47 s, and once for 1.5 s: what it took is skipped, and nothing else."""
    stands = [*((begin * 1_000_000, 60_000) for begin in range(20, 560, 47)), (400_000_000, 1_500_000)]
    figures = run_live(ROUGH, minutes=10, ppm=200, seed=options.seed, xruns=stands)
    passed = _whole(figures) and figures.gaps_after_first_minute <= 1 and figures.delay_last_ms < 420
    yield _live_row(f"{len(stands)} xruns, jitter, +200 ppm", figures, passed=passed)


def schedules(options: argparse.Namespace) -> Iterator[Row]:
    """Random schedules against the model."""
    verdicts = [judge(options.seed * 1_000_000 + number) for number in range(options.schedules)]
    faulty = [verdict for verdict in verdicts if verdict.faults]
    conversations, reconnects, gaps, samples = (
        sum(getattr(verdict, name) for verdict in verdicts) for name in ("conversations", "reconnects", "gaps", "samples")
    )
    told = f"{len(faulty)} faulty; {conversations} conversations, {reconnects} reconnects, {gaps} gaps, {samples / 48_000:.0f} s heard"
    faults = [dataclasses.asdict(verdict) for verdict in faulty]
    yield {"name": f"{options.schedules} schedules", "passed": not faulty, "told": told, "faulty": faults}


def splices(_: argparse.Namespace) -> Iterator[Row]:
    """Lost payloads and stalls: no joint is heard, and what is lost is filled."""
    for name, clip in clips():
        for format_name in FORMATS:
            figures = splice(name, clip, format_name)
            told = f"{figures.joints} joints, step {figures.largest_step_dbfs} dBFS, filled to {figures.filled_share:.2f}"
            passed = figures.largest_step_dbfs < -40 and figures.filled_share > 0.3
            yield {"name": f"{name}, {format_name}", "passed": passed, "told": told, **dataclasses.asdict(figures)}


SIMULATIONS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "drift": drift,
    "jitter": jitter,
    "stall": stall,
    "xruns": xruns,
    "schedules": schedules,
    "splices": splices,
}


def main() -> int:
    """Run what is asked for; 1 where something did not pass."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Simulates the player on virtual time, and prints a table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to run, by default all: {', '.join(SIMULATIONS)}")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same figures (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="length of the drift runs (default %(default)s)")
    parser.add_argument("--schedules", type=int, default=1_000, help="how many random schedules (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    unknown = set(options.names) - set(SIMULATIONS)
    if unknown:
        parser.error(f"there is no simulation {', '.join(sorted(unknown))}; known are {', '.join(SIMULATIONS)}")
    rows: list[Row] = []
    for name in options.names or SIMULATIONS:
        began = time.monotonic()
        for row in SIMULATIONS[name](options):
            row["seconds"] = round(time.monotonic() - began, 1)
            sys.stdout.write(f"{'ok  ' if row['passed'] else 'FAIL'} {row['name']:<45} {row['told']}  ({row['seconds']} s)\n")
            sys.stdout.flush()
            rows.append(row)
            began = time.monotonic()
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
