"""Damaged motion payloads, all the way to the mesh; the slow run feeds 100,000 of them, or `--cases`."""

from __future__ import annotations

import sys

import pytest

from tests.fuzzing.motion import Outcome, feed, mutations

COUNT = 1_500


def outcome_of(count: int, seed: int) -> Outcome:
    """Check: no exception but a refusal, only finite values, no hang, no memory growth."""
    outcome = feed(mutations(count, seed), count)
    assert outcome.taken + outcome.refused == count
    assert outcome.taken > count // 20 and outcome.refused > count // 20
    assert outcome.longest_ms < 1_000
    assert outcome.grown_mb < 50
    return outcome


def test_damaged_payloads_are_refused_or_shown_and_nothing_breaks() -> None:
    """A short run."""
    outcome_of(COUNT, 7)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_many_more_damaged_payloads(request: pytest.FixtureRequest) -> None:
    """The long run; prints its figures."""
    sys.stdout.write(f"{outcome_of(request.config.getoption('--cases') or 100_000, request.config.getoption('--seed'))}\n")
