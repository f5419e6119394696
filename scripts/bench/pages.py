"""Writes the figures of a report into docs/notebook/performance.md, between its marks, and the plots beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from scripts.bench import growth
from scripts.bench.cases import CASES
from scripts.bench.contest import middle
from scripts.bench.plots import bars, lines
from scripts.bench.tracing_cost import RELAY, added
from scripts.bench.verdicts import SECONDS, judge

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "notebook" / "performance.md"
PICTURES = DOCS / "pictures"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TITLES = {case.name: case.title for case in CASES}
COLUMNS = (
    ("cpu_us", "server CPU, µs/payload"),
    ("switches", "context switches/payload"),
    ("idle_us_per_s", "server CPU of a device, µs/s"),
    ("idle_switches_per_s", "context switches of a device/s"),
    ("rate", "payloads/s"),
    ("p50_ms", "p50, ms"),
    ("p99_ms", "p99, ms"),
    ("server_busy", "server busy"),
    ("load_busy", "load generator busy"),
    ("wire_ratio", "wire ÷ raw"),
    ("cold_ms", "cold, ms"),
    ("warm_ms", "warm, ms"),
)
LIVE = ("single", "paced")


def write(figures: Mapping[str, Any]) -> None:
    """Update tables and plots."""
    medians = {name: {one: middle(rounds) for one, rounds in by.items()} for name, by in figures.get("rounds", {}).items()}
    costs = {TITLES[name]: {one: values["cpu_us"] for one, values in by.items() if "cpu_us" in values} for name, by in medians.items()}
    costs = {title: bars_ for title, bars_ in costs.items() if bars_}
    if costs:
        bars("Server CPU per payload delivered (shorter is cheaper)", costs, "µs", PICTURES / "performance-cpu.png")
    live = {TITLES[name]: {one: values["p99_ms"] for one, values in medians[name].items()} for name in LIVE if name in medians}
    if live:
        bars("Time from hand-over to the device, 99th percentile", live, "ms", PICTURES / "performance-latency.png")
    if curves := figures.get("growth"):
        panels = [
            ("µs CPU/payload over sessions", curves[growth.CPU]),
            ("p99 in ms over sessions", curves[growth.P99]),
            ("MB of memory over sessions", _megabytes(curves[growth.ACTIVE])),
            ("MB of memory over idle devices", _megabytes(curves[growth.IDLE])),
        ]
        lines("How cost grows", panels, PICTURES / "performance-growth.png")
    page = PAGE.read_text(encoding="utf-8")
    head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
    text = "\n".join([*_place(figures), *_contest(medians), *_beyond(figures), *_aims(figures)])
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def _megabytes(curve: Mapping[str, float]) -> dict[str, float]:
    return {count: kb / 1024 for count, kb in curve.items()}


def _table(title: str, heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield from ("", f"### {title}", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|")
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def _place(figures: Mapping[str, Any]) -> Iterator[str]:
    place = figures["surroundings"]
    rounds = max((len(values) for by in figures.get("rounds", {}).values() for values in by.values()), default=0)
    contest = f"The contest: medians of {rounds} round{'s' if rounds > 1 else ''}. " if rounds else ""
    yield (
        f"{contest}CPU: {place['cpu']}, server and load on a core each; "
        f"load average before: {place['load_average']:.1f}. "
        f"Python {place['python']}, grpcio {place['grpcio']}, protobuf {place['protobuf']}, websockets {place['websockets']}, "
        f"FastAPI {place['fastapi']}, uvicorn {place['uvicorn']}, uvloop {place['uvloop']}."
    )


def _contest(medians: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    for name, by in medians.items():
        columns = [(key, title) for key, title in COLUMNS if key in next(iter(by.values()))]
        rows = [[one, *(f"{values[key]:,.2f}" for key, _ in columns)] for one, values in by.items()]
        yield from _table(TITLES[name], ["", *(title for _, title in columns)], rows)


def _beyond(figures: Mapping[str, Any]) -> Iterator[str]:
    if searches := figures.get("sessions"):
        keys = (("sessions", "{:.0f}"), ("cpu_us", "{:.1f}"), ("server_busy", "{:.0%}"), ("load_busy", "{:.0%}"))
        rows = [[name, *(form.format(median(one[key] for one in found)) for key, form in keys)] for name, found in searches.items()]
        heads = ["", "sessions", "server CPU, µs/payload", "server busy", "load generator busy"]
        yield from _table("Sessions at p99 ≤ 20 ms", heads, rows)
    if seconds := figures.get("start_up"):
        rows = [
            [name, f"{1e3 * median(took):.0f}", f"{1e3 * min(took):.0f} to {1e3 * max(took):.0f}", _limit(name)]
            for name, took in seconds.items()
        ]
        yield from _table("Start-up", ["from exec", "ms", "least and most", "aim, ms"], sorted(rows))
    if instructions := figures.get("tracing"):
        rows = [
            [mode, f"{instructions[mode]:,.0f}", *(f"{added(instructions, mode, base):+.2f} %" for base in ("none", "off"))]
            for mode in ("none", "off", "default", "full")
        ]
        heads = ["", "instructions/payload at the desks", "more than none, of a whole relay", "more than off, of a whole relay"]
        yield from _table("Tracing", heads, [*rows, ["a whole relay", f"{instructions[RELAY]:,.0f}", "", ""]])


def _limit(name: str) -> str:
    return f"{1e3 * SECONDS[name]:.0f}" if name in SECONDS else ""


def _aims(figures: Mapping[str, Any]) -> Iterator[str]:
    rows = [[one.matter, one.aim, one.measured, one.conclusion.replace("not reached", "**not reached**")] for one in judge(figures)]
    yield from _table("Aims", ["", "aim", "measured", ""], rows)
