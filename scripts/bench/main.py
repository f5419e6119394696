"""`scripts/bench/relay`: measures, prints tables, writes JSON and the page."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.bench import call_profile, pages
from scripts.bench.cases import BURST, CASES, FAN_OUT, FIRST, IDLE, PACED, QUICK, REAL, SINGLE, WINDOWS, Case
from scripts.bench.contest import CONTENDERS, BenchError, Results, cores, expected_s, middle, run
from scripts.bench.growth import TYPICAL_MEMORY_S, TYPICAL_S, growth
from scripts.bench.sessions import CONTESTANTS, searches
from scripts.bench.sessions import TYPICAL_S as SEARCH_S
from scripts.bench.start_up import ROUND_S, start_up
from scripts.bench.tracing_cost import TYPICAL_S as TRACING_S
from scripts.bench.tracing_cost import slopes
from scripts.bench.verdicts import judge

ALL = tuple(CONTENDERS)
RELAYS = ("ours", "bare", "vendor", "websockets", "joining")
FLOORS = ("floor", "floor, polling thread")
MATCHES = {
    BURST: (*RELAYS, "floor"),
    FAN_OUT: RELAYS,
    WINDOWS: ("ours", "bare", "websockets", "floor"),
    PACED: ALL,
    SINGLE: ("ours", "bare", "vendor", "websockets", "floor"),
    REAL: ("ours", "ours, tick", *FLOORS, "floor, tick", "bare", "vendor", "websockets"),
    QUICK: ("ours", "ours, tick", *FLOORS, "floor, tick"),
    IDLE: ("ours", "floor"),
    FIRST: RELAYS,
}
START_UP, SESSIONS, GROWTH, TRACING = "start-up", "sessions", "growth", "tracing"
USUAL = (*(case.name for case in CASES), START_UP, SESSIONS, GROWTH)
EVERYTHING = "all"
"""Includes tracing, which is counted in instructions: slow, but independent of machine load."""
ROUNDS = 5
QUICK_S = 1.0


def cpu_model() -> str:
    """The kernel's name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def surroundings() -> dict[str, object]:
    """The environment on which the figures depend."""
    packages = ("grpcio", "protobuf", "websockets", "fastapi", "uvicorn", "uvloop")
    return {
        "cpu": cpu_model(),
        "cores": list(cores()),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def tables(results: Results) -> str:
    """Format the medians, one table per case."""
    lines = []
    for case in CASES:
        if case.name in results:
            lines.append(f"\n{case.title}")
            for name, rounds in results[case.name].items():
                figures = middle(rounds)
                shown = [(key, title) for key, title in pages.COLUMNS if key in figures]
                lines.append(f"  {name:12}" + "".join(f"  {title} {figures[key]:.2f}" for key, title in shown))
    return "\n".join(lines)


def verdict_lines(figures: dict[str, Any]) -> str:
    """Format the targets and whether they were reached."""
    lines = [f"  {verdict.conclusion.upper():29} {verdict.matter}; {verdict.aim}: {verdict.measured}" for verdict in judge(figures)]
    return "\n".join(["\naims", *lines])


def chosen(options: argparse.Namespace) -> list[tuple[Case, Sequence[str]]]:
    """The requested matches."""
    matches: list[tuple[Case, Sequence[str]]] = []
    for case, names in MATCHES.items():
        if case.name in options.cases:
            taken = [name for name in names if not options.contenders or name in options.contenders]
            if taken:
                matches.append((replace(case, seconds=min(case.seconds, QUICK_S)) if options.quick else case, taken))
    return matches


def case_names(text: str) -> Sequence[str]:
    """Parse comma-separated names. Raises `argparse.ArgumentTypeError`."""
    known = (*USUAL, TRACING)
    names = known if text == EVERYTHING else text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is neither {EVERYTHING} nor any of {', '.join(known)}")
    return names


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 even if targets are missed, because that is a result."""
    parser = argparse.ArgumentParser(prog="scripts/bench/relay", description="The relay beside what people would use instead.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--quick", action="store_true", help="one short round; figures are rough")
    cases = f"{EVERYTHING}, or some of {','.join((*USUAL, TRACING))} (default: all but {TRACING})"
    parser.add_argument("--cases", type=case_names, default=USUAL, metavar="NAME,…", help=cases)
    parser.add_argument("--contender", dest="contenders", action="append", choices=ALL, help="only this one; repeatable")
    parser.add_argument("--calls", action="store_true", help="only count the Python calls of a payload in `real`, by function")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, after each round those so far")
    parser.add_argument("--docs", action="store_true", help="update figures and plots of docs/notebook/performance.md")
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="take figures from FILE, as --json wrote it, and measure nothing; repeatable",
    )
    options = parser.parse_args(argv)
    if options.calls:
        for name in call_profile.COMPARED:
            counted = call_profile.profile(name)
            print(f"\n{name}: {counted.calls:.0f} Python calls a payload\n\n{counted.table()}")
        return 0
    if options.quick:
        options.rounds = 1
    figures: dict[str, Any] = {}
    if options.sources:
        for source in options.sources:
            merge(figures, json.loads(source.read_text(encoding="utf-8")))
        keep(figures, options.json)
    else:
        try:
            measure(figures, options)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(tables(figures.get("rounds", {})))
    print(verdict_lines(figures))
    if options.docs:
        pages.write(figures)
    return 0


def merge(figures: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Merge the figures of another file; its values take precedence. Each case of the contest is merged separately."""
    rounds = figures.get("rounds", {}) | more.get("rounds", {})
    figures |= more
    figures["rounds"] = rounds


def measure(figures: dict[str, Any], options: argparse.Namespace) -> None:
    """Measure everything requested into `figures`, which are written after each part and round. Raises `BenchError`."""
    matches = chosen(options)
    around, searched = options.rounds, max(1, options.rounds // 3)
    parts: dict[str, tuple[float, Callable[[], Any]]] = {
        START_UP: (ROUND_S * around, lambda: start_up(around, _say)),
        SESSIONS: (SEARCH_S * searched * len(CONTESTANTS), lambda: searches(searched, _say)),
        GROWTH: (TYPICAL_S * searched + TYPICAL_MEMORY_S, lambda: growth(searched, _say)),
        TRACING: (TRACING_S, lambda: asyncio.run(slopes(_say))),
    }
    wanted = {name: part for name, part in parts.items() if name in options.cases}
    seconds = expected_s(matches, options.rounds) + sum(takes for takes, _ in wanted.values())
    figures["surroundings"] = surroundings()
    _say("  ".join(f"{name} {value}" for name, value in figures["surroundings"].items()))
    _say(f"this takes about {max(1, round(seconds / 60))} minutes on a quiet machine")
    for results in run(matches, options.rounds, _say):
        figures["rounds"] = results
        keep(figures, options.json)
    for name, (_, part) in wanted.items():
        figures[name.replace("-", "_")] = part()
        keep(figures, options.json)


def keep(figures: dict[str, Any], file: Path | None) -> None:
    """Write the figures with their medians and verdicts. An aborted run keeps the figures of its complete rounds."""
    if file is not None:
        results: Results = figures.get("rounds", {})
        medians = {case: {name: middle(rounds) for name, rounds in by.items()} for case, by in results.items()}
        derived = {"medians": medians, "aims": [asdict(verdict) for verdict in judge(figures)]}
        unfinished = file.with_name(file.name + ".part")
        unfinished.write_text(json.dumps(figures | derived, indent=1) + "\n", encoding="utf-8")
        unfinished.rename(file)


if __name__ == "__main__":
    sys.exit(main())
