"""Python calls of a payload in AvatarKit's own traffic, by function: `scripts/bench/relay --calls`."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.bench.cases import REAL
from scripts.bench.contest import CONTENDERS, measure
from scripts.bench.counted import COUNT_FILE

SESSIONS, SECONDS = 30, 6.0
SHOWN = 30
COMPARED = ("ours", "floor")


@dataclass(frozen=True, slots=True)
class CallProfile:
    """Calls per payload: the total, and those of each function in descending order."""

    calls: float
    functions: dict[str, float]

    def table(self, rows: int = SHOWN) -> str:
        """The most-called functions, as a Markdown table."""
        lines = [f"| {calls:.2f} | `{name}` |" for name, calls in list(self.functions.items())[:rows]]
        return "\n".join(["| calls | function |", "|---|---|", *lines])


def profile(name: str) -> CallProfile:
    """Count the calls of one contender. Raises `BenchError`."""
    contender = CONTENDERS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls"
        os.environ[COUNT_FILE] = str(file)
        try:
            counted = replace(contender, server=("-m", "scripts.bench.counted", *contender.server[1:]))
            figures = measure(counted, replace(REAL, sessions=SESSIONS, seconds=SECONDS))
        finally:
            del os.environ[COUNT_FILE]
        functions: dict[str, int] = json.loads(file.read_text())
    ordered = sorted(functions.items(), key=lambda item: -item[1])
    return CallProfile(figures["calls"], {function: calls / figures["payloads"] for function, calls in ordered})
