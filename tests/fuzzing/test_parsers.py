"""Every parser refuses damaged input with its declared error; the slow run tries a million cases, or `--cases`."""

from __future__ import annotations

import json
import logging
import resource
import sys
from dataclasses import asdict

import pytest

from tests.fuzzing.parsers import Tally, run


def tallies_of(cases: int, seed: int) -> dict[str, Tally]:
    """Run the cases; fails with a list of violations."""
    told: list[str] = []
    tallies = run(cases, seed, told.append)
    assert told == []
    return tallies


def test_no_parser_crashes_or_hangs() -> None:
    """A short run that covers every parser."""
    assert min(tally.cases for tally in tallies_of(20_000, 5).values()) > 20


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_many_more_cases(request: pytest.FixtureRequest) -> None:
    """The long run; prints its figures."""
    logging.disable(logging.CRITICAL)
    try:
        tallies = tallies_of(request.config.getoption("--cases") or 1_000_000, request.config.getoption("--seed"))
    finally:
        logging.disable(logging.NOTSET)
    peak_rss_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 1)
    figures = {"peak_rss_mib": peak_rss_mib, "parsers": {name: asdict(tally) for name, tally in tallies.items()}}
    sys.stdout.write(json.dumps(figures) + "\n")
