"""Writes the figures of a report into docs/performance.md, between its marks, and the plots beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.bench.cases import CASES
from scripts.bench.plots import bars, lines

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "performance.md"
PICTURES = DOCS / "pictures"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = (
    ("cpu_us", "server CPU, µs/payload"),
    ("rate", "payloads/s"),
    ("p50_ms", "p50, ms"),
    ("p99_ms", "p99, ms"),
    ("cold_ms", "cold, ms"),
    ("warm_ms", "warm, ms"),
)


def write(report: dict[str, Any]) -> None:
    """Renew tables and plots."""
    medians = report["medians"]
    titles = {case.name: case.title for case in CASES}
    costs = {titles[name]: {one: values["cpu_us"] for one, values in by.items()} for name, by in medians.items() if name != "first"}
    bars("Server CPU per payload delivered (shorter is cheaper)", costs, "µs", PICTURES / "performance-cpu.png")
    live = {
        titles[name]: {one: values["p99_ms"] for one, values in medians[name].items()} for name in ("single", "paced") if name in medians
    }
    if live:
        bars("Time from hand-over to the device, 99th percentile", live, "ms", PICTURES / "performance-latency.png")
    if "growth" in report:
        growth = report["growth"]
        curves = [
            ("µs CPU/payload over sessions × 80/s", growth["cpu_us_by_sessions"]),
            ("KB of memory over idle devices", growth["rss_kb_by_idle_devices"]),
        ]
        lines("How cost grows", curves, PICTURES / "performance-growth.png")
    page = PAGE.read_text(encoding="utf-8")
    head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n{_figures(report)}\n{END}{tail}", encoding="utf-8")


def _figures(report: dict[str, Any]) -> str:
    titles = {case.name: case.title for case in CASES}
    place = report["surroundings"]
    rounds = max(len(values) for by in report["rounds"].values() for values in by.values())
    lines_ = [
        f"Medians of {rounds} rounds. CPU: {place['cpu']}, server and load on a core each; "
        f"load average before: {place['load_average']:.1f}. "
        f"Python {place['python']}, grpcio {place['grpcio']}, protobuf {place['protobuf']}, websockets {place['websockets']}, "
        f"FastAPI {place['fastapi']}, uvicorn {place['uvicorn']}."
    ]
    for name, by in report["medians"].items():
        columns = [(key, title) for key, title in COLUMNS if key in next(iter(by.values()))]
        lines_ += [
            "",
            f"### {titles[name]}",
            "",
            "| | " + " | ".join(title for _, title in columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        lines_ += [f"| {one} | " + " | ".join(f"{values[key]:,.2f}" for key, _ in columns) + " |" for one, values in by.items()]
    lines_ += ["", "### Aims", "", "| aim | ours | theirs | theirs ÷ ours | |", "|---|---|---|---|---|"]
    lines_ += [
        f"| {titles[one['case']]}; {one['promise']} | {one['ours']:.2f} | {one['other']:.2f} | {one['ratio']:.2f} | "
        f"{'reached' if one['kept'] else '**not reached**'} |"
        for one in report["promises"]
    ]
    return "\n".join(lines_)
