"""Very many conversations through an unmodified Server SDK, interrupted at random: invariants hold, or the violations are reported.

Invariants of each: its motion at the device is that of one request, byte for byte as on the WebSocket, and in no
other conversation; only that motion was shown; it finished exactly once; and one session served a whole batch. None
of this depends on real time: the device's clock is injected, and timeouts are counted on it.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.relay_server.sources.avatarkit.many import Totals, run
from tests.relay_server.sources.avatarkit.rig import SDKS

PR_SET_PDEATHSIG = 1
"""<sys/prctl.h>: the kernel ends a process with the one that started it."""
FAST = 80.0
"""Playback speed as a multiple of real time, if the machine is fast enough."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations with one set of programs, in a separate process."""

    sdk: str
    count: int
    speed: float
    seed: int


def end_with_parent() -> None:
    """Make the kernel end this worker with the command, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def work(batch: Batch) -> Totals | str:
    """Return a batch's numbers, or its failure."""
    try:
        return asyncio.run(run(batch.sdk, batch.count, batch.speed, batch.seed))
    except Exception:
        return traceback.format_exc()


def batches(sdk: str, conversations: int, size: int, speed: float, seed: int) -> list[Batch]:
    """Return all batches; the last one may be smaller."""
    counts = [min(size, conversations - first) for first in range(0, conversations, size)]
    return [Batch(sdk, count, speed, seed + number) for number, count in enumerate(counts)]


def run_batches(plan: list[Batch], jobs: int, file: Path) -> None:
    """Run all, and write their numbers to `file`. Raises `AssertionError` if a batch failed."""
    began = time.monotonic()
    totals: Totals = Counter()
    wrong: list[dict[str, object]] = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        futures = {pool.submit(work, batch): batch for batch in plan}
        for future in as_completed(futures):
            batch, outcome = futures[future], future.result()
            if isinstance(outcome, str):
                wrong.append({"seed": batch.seed, "conversations": batch.count, "what": outcome})
            else:
                totals += outcome
    report = {
        "sdk": plan[0].sdk,
        "speed": plan[0].speed,
        "seeds": [batch.seed for batch in plan],
        "well": not wrong,
        "seconds": round(time.monotonic() - began, 1),
        "totals": dict(sorted(totals.items())),
        "wrong": wrong,
    }
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"  {plan[0].sdk}: {', '.join(f'{name} {number}' for name, number in sorted(totals.items()))}; {file}\n")
    assert wrong == []
    assert totals["conversations"] == sum(batch.count for batch in plan)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("sdk", SDKS)
def test_thousand(sdk: str, figures: Path, request: pytest.FixtureRequest) -> None:
    """Many times faster than real time, in separate processes; `--cases` and `--seed` select others."""
    count, seed = request.config.getoption("--cases") or 1_000, request.config.getoption("--seed")
    run_batches(batches(sdk, count, 50, FAST, seed), os.cpu_count() or 1, figures / "thousand.json")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sdk", SDKS)
def test_twenty_in_real_time(sdk: str, figures: Path) -> None:
    """In real time; requires an idle machine, 3 minutes."""
    run_batches(batches(sdk, 20, 20, 1.0, 2), 1, figures / "twenty.json")
