"""Runs the Node.js device and publisher (`tests/lab/node`), and converts their reports to a history."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.lab.data import PROJECT_ROOT
from tests.lab.history import Verdict, check
from tests.lab.programs import Program, running

SOURCES = PROJECT_ROOT / "tests" / "lab" / "node"
MODULES = PROJECT_ROOT / ".cache" / "node" / "node_modules"
"""Folder into which `scripts/node_clients` installs their dependencies."""


def what_is_missing() -> str:
    """Describe a missing prerequisite; empty if they can run here."""
    if shutil.which("node") is None:
        return "there is no node; install Debian's nodejs and npm"
    if not (MODULES / "@grpc" / "grpc-js").is_dir():
        return "grpc-js is not installed; `scripts/node_clients` does that"
    return ""


def start(name: str, log: Path, *arguments: str) -> AbstractAsyncContextManager[Program]:
    """Run `device` or `publisher` for the duration of the `with` block; its reports are written to `log`."""
    environment = {"NODE_PATH": os.fspath(MODULES), "AVATAR_RELAY_PROTO": os.fspath(PROJECT_ROOT / "proto")}
    return running(log.stem, ["node", os.fspath(SOURCES / f"{name}.js"), *arguments], log, environment)


def reports(log: Path) -> list[dict[str, Any]]:
    """Parse a program's reports, one per line."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


def judge(device_id: str, logs: Iterable[Path], path: Path) -> Verdict:
    """Merge the reports of devices and publishers into one history, ordered by time, and check it."""
    told = sorted((report for log in logs for report in reports(log)), key=lambda report: int(report["time_us"]))
    with path.open("w", encoding="utf-8") as history:
        for report in told:
            event, kind, seq, detail = report["event"], report.get("kind", ""), report.get("seq", 0), report.get("detail", "")
            if event == "dropped" and report["reason"] == "link_narrow":
                event, kind, seq = "yielded", "motion", report["payloads"]
            if event in ("sent", "received", "yielded", "outcome", "finished"):
                print(report["time_us"], device_id, event, report["conversation"], kind, seq, detail, sep="\t", file=history)
    with path.open(encoding="utf-8") as history:
        return check(history)
