"""Interrupts, ends, replacements, late media, finished events, cuts and resumes cross in every order; `scripts/races` runs more."""

from __future__ import annotations

import pytest

from tests.lab.races.schedule import judge

SCHEDULES = 60


@pytest.mark.parametrize("first", range(0, SCHEDULES, 20))
async def test_every_conversation_ends_once_and_none_is_heard_after_its_end(first: int) -> None:
    """Real relay, real exchanges, real player; each schedule is named by its seed."""
    verdicts = [judge(seed) for seed in range(first, first + 20)]
    assert [verdict for verdict in verdicts if verdict.faults] == []
    assert sum(verdict.conversations for verdict in verdicts) > 60
    assert sum(verdict.cuts for verdict in verdicts) > 8
