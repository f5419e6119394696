"""`scripts/bench/relay`: runs the contest, prints tables, writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from scripts.bench import pages
from scripts.bench.cases import BURST, CASES, FAN_OUT, FIRST, PACED, SINGLE, WINDOWS, Case
from scripts.bench.contest import CONTENDERS, BenchError, Results, cores, middle, run
from scripts.bench.growth import growth
from scripts.bench.verdicts import judge

ALL = tuple(CONTENDERS)
WITHOUT_TICK = tuple(name for name in ALL if name != "ours, tick")
MATCHES = {
    BURST: WITHOUT_TICK,
    FAN_OUT: WITHOUT_TICK,
    WINDOWS: ("ours", "bare", "websockets"),
    PACED: ALL,
    SINGLE: ("ours", "bare", "vendor", "websockets"),
    FIRST: WITHOUT_TICK,
}
QUICK_S = 1.0


def cpu_model() -> str:
    """The processor, as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def surroundings() -> dict[str, object]:
    """What the figures depend on."""
    packages = ("grpcio", "protobuf", "websockets", "fastapi", "uvicorn")
    return {
        "cpu": cpu_model(),
        "cores": list(cores()),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def tables(results: Results) -> str:
    """The medians, a table each case."""
    lines = []
    for case in CASES:
        if case.name in results:
            lines.append(f"\n{case.title}")
            for name, rounds in results[case.name].items():
                figures = middle(rounds)
                shown = (
                    ("cpu_us", "µs CPU/payload"),
                    ("rate", "payloads/s"),
                    ("p50_ms", "ms p50"),
                    ("p99_ms", "ms p99"),
                    ("cold_ms", "ms cold"),
                    ("warm_ms", "ms warm"),
                )
                lines.append(f"  {name:12}" + "".join(f"{figures[key]:12.2f} {unit}" for key, unit in shown if key in figures))
    return "\n".join(lines)


def verdict_lines(results: Results) -> str:
    """The promises, kept or not."""
    lines = ["\npromises"]
    for verdict in judge(results):
        promise, (mid, least, most) = verdict.promise, verdict.ratio
        mark = "kept    " if verdict.kept else "NOT KEPT"
        lines.append(
            f"  {mark} {promise.case.title}: {promise.ours} {promise.text}: {verdict.ours:.2f} and {verdict.other:.2f}, "
            f"ratio {mid:.2f} ({least:.2f} to {most:.2f})"
        )
    return "\n".join(lines)


def report(results: Results, surroundings: dict[str, object]) -> dict[str, object]:
    """All of it, for a machine."""
    return {
        "surroundings": surroundings,
        "rounds": results,
        "medians": {case: {name: middle(rounds) for name, rounds in names.items()} for case, names in results.items()},
        "promises": [
            {
                "case": verdict.promise.case.name,
                "promise": f"{verdict.promise.ours}: {verdict.promise.text}",
                "figure": verdict.promise.figure,
                "ours": verdict.ours,
                "other": verdict.other,
                "ratio": verdict.ratio[0],
                "kept": verdict.kept,
            }
            for verdict in judge(results)
        ],
    }


def chosen(options: argparse.Namespace) -> list[tuple[Case, Sequence[str]]]:
    """The matches asked for."""
    matches: list[tuple[Case, Sequence[str]]] = []
    for case, names in MATCHES.items():
        if not options.cases or case.name in options.cases:
            taken = [name for name in names if not options.contenders or name in options.contenders]
            matches.append((replace(case, seconds=min(case.seconds, QUICK_S)) if options.quick else case, taken))
    return matches


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 whether promises are kept or not, because that is a finding."""
    parser = argparse.ArgumentParser(prog="scripts/bench/relay", description="The relay beside what people would use instead.")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--quick", action="store_true", help="one short round; figures are rough")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--growth", action="store_true", help="also measure how our cost grows with sessions and idle devices")
    parser.add_argument("--docs", action="store_true", help="renew figures and plots of docs/performance.md")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="with --docs: use the figures in FILE, measure nothing")
    parser.add_argument("--case", dest="cases", action="append", choices=[case.name for case in CASES], help="only this one; repeatable")
    parser.add_argument("--contender", dest="contenders", action="append", choices=ALL, help="only this one; repeatable")
    options = parser.parse_args(argv)
    if options.source is None:
        try:
            figures = measured(options)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    else:
        figures = json.loads(options.source.read_text(encoding="utf-8"))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.docs:
        pages.write(figures)
    return 0


def measured(options: argparse.Namespace) -> dict[str, object]:
    """Measure what was asked for, and print it. Raises `BenchError`."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    before = surroundings()
    say("  ".join(f"{name} {value}" for name, value in before.items()))
    results = run(chosen(options), 1 if options.quick else options.rounds, say)
    print(tables(results))
    print(verdict_lines(results))
    figures = report(results, before)
    if options.growth:
        figures["growth"] = growth(say)
    return figures


if __name__ == "__main__":
    sys.exit(main())
