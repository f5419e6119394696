"""Damaged motion payloads, the whole way to the mesh. `tests/lab/fuzzing/motion.py` feeds 100,000 of them."""

from __future__ import annotations

from tests.lab.fuzzing.motion import feed, mutations

COUNT = 1_500


def test_damaged_payloads_are_refused_or_shown_and_nothing_breaks() -> None:
    """No exception but a refusal, nothing that is not finite, no hang, no growth."""
    outcome = feed(mutations(COUNT, 7, ()), COUNT)
    assert outcome.taken + outcome.refused == COUNT
    assert outcome.taken > COUNT // 20 and outcome.refused > COUNT // 20
    assert outcome.longest_ms < 1_000
    assert outcome.grown_mb < 50
