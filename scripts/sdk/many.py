"""Very many conversations through an unmodified Server SDK, interrupted at random: what must hold of them, holds, or it says what does not.

What must hold, of each: its motion at the device is that of one request, byte for byte as it was on the WebSocket, and in
nobody else's conversation; only that was shown; it finished exactly once; and one session served a whole batch. None of it
is a matter of time: the device's clock is handed in, and patience is counted on it. See `tests/…/avatarkit/many.py`.
"""

from __future__ import annotations

import argparse
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

from tests.lab.avatarkit.many import Totals, run

PR_SET_PDEATHSIG = 1
"""<sys/prctl.h>: the kernel ends a process with the one that started it."""
FAST = 80.0
"""Times faster than time passes, where the machine can do it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations with one set of programs, in a process of their own."""

    sdk: str
    count: int
    speed: float
    seed: int


def end_with_parent() -> None:
    """No worker outlives the command, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def work(batch: Batch) -> Totals | str:
    """A batch's numbers, or what went wrong."""
    try:
        return asyncio.run(run(batch.sdk, batch.count, batch.speed, batch.seed))
    except Exception:
        return traceback.format_exc()


def batches(sdk: str, conversations: int, size: int, speed: float, seed: int) -> list[Batch]:
    """All of them, the last one perhaps smaller."""
    counts = [min(size, conversations - first) for first in range(0, conversations, size)]
    return [Batch(sdk, count, speed, seed + number) for number, count in enumerate(counts)]


def main() -> int:
    """The command; returns its exit status."""
    options = parse()
    speed = 1.0 if options.real_time else FAST
    plan = batches(options.sdk, options.conversations, options.batch, speed, options.seed)
    began = time.monotonic()
    totals: Totals = Counter()
    wrong: list[dict[str, object]] = []
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        futures = {pool.submit(work, batch): batch for batch in plan}
        for future in as_completed(futures):
            batch, outcome = futures[future], future.result()
            if isinstance(outcome, str):
                wrong.append({"seed": batch.seed, "conversations": batch.count, "what": outcome})
                print(f"  seed {batch.seed}: WRONG\n{outcome}", file=sys.stderr, flush=True)
            else:
                totals += outcome
                print(f"  seed {batch.seed}: {totals['conversations']} of {options.conversations} conversations are well", flush=True)
    well = not wrong and totals["conversations"] == options.conversations
    told = {
        "sdk": options.sdk,
        "speed": speed,
        "seeds": [batch.seed for batch in plan],
        "well": well,
        "seconds": round(time.monotonic() - began, 1),
        "totals": dict(sorted(totals.items())),
        "wrong": wrong,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    numbers = ", ".join(f"{name} {number}" for name, number in sorted(totals.items()))
    print(f"  {options.sdk}: {'ALL WELL' if well else f'{len(wrong)} BATCHES WENT WRONG'}: {numbers}; {options.json}", flush=True)
    return 0 if well else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sdk", choices=("spatius", "spatialreal"))
    parser.add_argument("--conversations", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=50, help="conversations with one set of programs (default 50)")
    parser.add_argument("--real-time", action="store_true", help="at the pace of people")
    parser.add_argument("--seed", type=int, default=1, help="of the first batch")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: one for each core)")
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
