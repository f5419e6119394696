"""Many schedules, and what they came to: `python -m tests.lab.races --schedules 10000 --seed 1`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time

from tests.lab.races.schedule import Verdict, judge


async def run(first: int, count: int) -> list[Verdict]:
    """Judge so many schedules, within one event loop: ports need one to say that there is nothing to receive."""
    return [judge(seed) for seed in range(first, first + count)]


def main() -> int:
    """Run; 1 where a schedule went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.races", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="the first one's seed (default %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.process_time()
    verdicts = asyncio.run(run(options.seed, options.schedules))
    faulty = [verdict for verdict in verdicts if verdict.faults]
    for verdict in faulty[:10]:
        sys.stdout.write(f"{verdict}\n")
    counts = {name: sum(getattr(verdict, name) for verdict in verdicts) for name in ("conversations", "cuts", "crossed")}
    told = {"schedules": len(verdicts), "faulty": len(faulty), **counts, "cpu_seconds": round(time.process_time() - began, 1)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
