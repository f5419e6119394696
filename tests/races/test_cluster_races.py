"""Killed, partitioned and disconnected relays, clients that change relays, and all cases of `test_races`; `scripts/races` runs more."""

from __future__ import annotations

import json
import sys

import pytest

from tests.races.cluster_schedule import judge_cluster

SCHEDULES = 6
SHOWN = (346_990, 504_622, 609_319)
"""Schedules that showed a fault: a device attached just before its relay was partitioned, and a door refused it as unknown; a relay
ended a conversation whose device had received it at a partitioned relay; a door used a link that a killed relay had not ended."""


def test_every_conversation_of_a_cluster_ends_once() -> None:
    """Two or three real relays in virtual time; each schedule is named by its seed."""
    verdicts = [judge_cluster(seed) for seed in (*range(SCHEDULES), *SHOWN)]
    assert [verdict for verdict in verdicts if verdict.faults] == []
    assert sum(verdict.conversations for verdict in verdicts) > 20
    assert sum(verdict.cuts for verdict in verdicts) > 10


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_many_more_schedules_of_a_cluster(request: pytest.FixtureRequest) -> None:
    """Runs `--cases` schedules from `--seed` on."""
    first, count = request.config.getoption("--seed"), request.config.getoption("--cases") or 10_000
    verdicts = [judge_cluster(seed) for seed in range(first, first + count)]
    counts = {name: sum(getattr(verdict, name) for verdict in verdicts) for name in ("conversations", "cuts", "crossed")}
    sys.stdout.write(json.dumps({"cluster schedules": count, **counts}) + "\n")
    assert [verdict for verdict in verdicts if verdict.faults][:10] == []
